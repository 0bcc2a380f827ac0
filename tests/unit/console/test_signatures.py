"""How quarantined records and dead letters are grouped."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from contracts.envelope import Message
from contracts.runs import PlanRun
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
