"""How quarantined records and dead letters are grouped, and which records are still in quarantine."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from contracts.envelope import Message
from contracts.runs import PlanRun
from contracts.segments import Occurrence, segment_id_of
from contracts.sources import FetchedName
from services.console.commands import dlq, quarantine


def test_records_with_the_same_mistakes_have_one_signature() -> None:
    """Reason, and place and type of each error, in any order and number; the values do not matter."""
    first = {
        "reason": "invalid-record",
        "errors": [
            {"type": "missing", "loc": ["ptid"], "msg": "Field required", "input": {"a": 1}},
            {"type": "greater_than", "loc": ["pipeline_adcid"], "msg": "…", "input": -1},
        ],
    }
    second = {
        "reason": "invalid-record",
        "errors": [
            {"type": "greater_than", "loc": ["pipeline_adcid"], "msg": "…", "input": -7},
            {"type": "missing", "loc": ["ptid"], "msg": "Field required", "input": {}},
            {"type": "missing", "loc": ["ptid"], "msg": "Field required", "input": {}},
        ],
    }
    assert quarantine.signature_of(first) == "invalid-record pipeline_adcid:greater_than ptid:missing"
    assert quarantine.signature_of(second) == quarantine.signature_of(first)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"reason": "object-missing", "errors": [{"msg": "gone"}]}, "object-missing"),
        ({"reason": "object-missing", "errors": []}, "object-missing"),
        ({"reason": "malformed-json", "errors": [{"type": "json_invalid", "loc": []}]}, "malformed-json :json_invalid"),
        ({"reason": "r", "errors": [{"type": "t", "loc": ["a", 0, "b"]}]}, "r a.0.b:t"),
    ],
)
def test_a_signature_names_reason_and_places(entry: quarantine.Entry, expected: str) -> None:
    """Errors without a type (a lost object) leave the reason alone."""
    assert quarantine.signature_of(entry) == expected


def test_a_dead_letter_of_ours_is_called_by_its_kind() -> None:
    """The kind is in the envelope."""
    command = PlanRun(pipeline="visit_events", run_id="r")
    message = Message.wrap(command, message_id=uuid4(), run_id="r", occurred_at=datetime.now(UTC))
    assert dlq.signature_of(message.model_dump_json()) == "PlanRun"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (json.dumps({"Records": []}), "S3 notification"),
        (json.dumps({"Type": "Notification", "Message": "{}"}), "S3 notification"),
        (json.dumps({"Event": "s3:TestEvent"}), "S3 notification"),
        (json.dumps({"a": 1}), "unknown JSON"),
        (json.dumps(["kind"]), "unknown JSON"),
        ("7", "unknown JSON"),
        ("poison", "not JSON"),
        ("", "not JSON"),
        ("[" * 200_000, "not JSON"),
    ],
    ids=lambda text: text[:40],
)
def test_any_other_dead_letter_is_called_what_it_is(body: str, expected: str) -> None:
    """A body that stopped a service must not stop the command that shows it."""
    assert dlq.signature_of(body) == expected


def bad_row(run_id: str, line: int, raw: str | None, *, fetched_by: str | None = None) -> quarantine.Entry:
    """An entry of a fetched row, as the run wrote it that judged it."""
    name = FetchedName(run_date="2025-02-21", pipeline="nyc_311", run_id=fetched_by or run_id, segment_id="000")
    at = Occurrence(bucket="raw", key=name.key("raw/"), version_id="v")
    return {"occurrence": at.model_dump(mode="json"), "line": line, "raw": raw, "run_id": run_id}


def replay(run_id: str, *entries: quarantine.Entry) -> quarantine.Replay:
    """A replay that has settled the raw objects of these entries."""
    return quarantine.Replay(run_id, frozenset(segment_id_of([at]) for at in quarantine.distinct(entries)))


def test_what_was_never_replayed_is_still_bad() -> None:
    """Every line of every raw object, whatever else was replayed."""
    found = [bad_row("a", 1, "x"), bad_row("a", 2, "y"), bad_row("b", 1, "x")]
    assert quarantine.still_bad(found, [], "raw/") == found
    assert quarantine.still_bad(found, [replay("r", bad_row("c", 1, "x"))], "raw/") == found


def test_the_last_settled_replay_of_an_object_has_the_last_word() -> None:
    """What it put into quarantine again stays, the rest of that object is cured; other objects are untouched."""
    first = [bad_row("a", 1, "x"), bad_row("a", 2, "y"), bad_row("a", 3, "z")]
    second = [bad_row("r1", 1, "x", fetched_by="a"), bad_row("r1", 3, "z", fetched_by="a")]
    third = [bad_row("r2", 3, "z", fetched_by="a")]
    other = [bad_row("b", 1, "x")]
    found = first + second + third + other
    assert quarantine.still_bad(found, [replay("r1", *first)], "raw/") == second + other
    assert quarantine.still_bad(found, [replay("r2", *first), replay("r1", *first)], "raw/") == third + other
    assert quarantine.still_bad(first + other, [replay("r3", *first)], "raw/") == other


def test_a_replay_that_is_not_settled_yet_says_nothing() -> None:
    """Its entries are there already, but its rows may still be on their way: nothing is listed twice."""
    first, again = [bad_row("a", 1, "x"), bad_row("a", 2, "y")], [bad_row("r", 1, "x", fetched_by="a")]
    assert quarantine.still_bad(first + again, [quarantine.Replay("r", frozenset())], "raw/") == first


def test_an_object_that_names_no_run_is_never_hidden() -> None:
    """A key that no fetcher wrote says nothing of who judged it first."""
    entry = bad_row("a", 1, "x") | {"occurrence": {"bucket": "raw", "key": "elsewhere.json", "etag": "e"}}
    assert quarantine.still_bad([entry], [], "raw/") == [entry]


def test_a_row_that_several_runs_read_is_one_record() -> None:
    """By its text; where there is none, by its place. Uploaded objects are never one another's."""
    assert quarantine.identity_of(bad_row("a", 1, "x")) == quarantine.identity_of(bad_row("b", 9, "x"))
    assert quarantine.identity_of(bad_row("a", 1, "x")) != quarantine.identity_of(bad_row("a", 2, "y"))
    assert quarantine.identity_of(bad_row("a", 1, None)) != quarantine.identity_of(bad_row("b", 1, None))
    uploads = [{"occurrence": {"bucket": "b", "key": key, "etag": "e"}, "raw": "{}"} for key in ("one", "two")]
    assert len({quarantine.identity_of(upload) for upload in uploads}) == 2


def test_a_raw_object_is_replayed_once() -> None:
    """However many of its lines are bad, and whoever judged them."""
    found = [bad_row("a", 1, "x"), bad_row("b", 1, "x"), bad_row("a", 2, "y"), bad_row("r", 2, "y", fetched_by="a")]
    assert [at.key.split("/")[-2] for at in quarantine.distinct(found)] == ["a", "b"]


def test_a_bad_row_cannot_command_the_terminal() -> None:
    """Whatever it holds is shown in one line of bounded length, and text in any script stays readable."""
    assert quarantine.printable('{"a": "é [red] 東"}') == '{"a": "é [red] 東"}'
    assert quarantine.printable("\x1b[2Jx\r\ny\ud800") == "\\x1b[2Jx\\r\\ny\\ud800"
    assert quarantine.printable("z" * 9_999) == "z" * quarantine.RAW_SHOWN + "…"
