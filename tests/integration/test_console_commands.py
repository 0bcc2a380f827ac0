"""The operator's commands over a stack that has worked: nothing here knows more than ``tidegate`` tells."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.envelope import Message
from contracts.records import VisitEvent
from contracts.segments import MergeSegment
from contracts.topology import TOPOLOGY
from services.console.demo.visit_events import Expected, Upload, generate, write_files
from services.console.local.emulator import Emulator
from services.console.session import Session
from tests.cli_support import Ended, done, tidegate
from tests.emulator_support import Stack
from tests.integration.console_support import NOON, in_session, working_stack

P = "visit_events"
COLUMNS = tuple(VisitEvent.model_fields)


@dataclass(frozen=True)
class Sample:
    """What was put into the stack."""

    stack: Stack
    uploads: list[Upload]
    puts: list[Ended]
    waited: Ended

    @property
    def expected(self) -> Expected:
        """What must have become of it."""
        return Expected.of(self.uploads)

    @property
    def events(self) -> list[VisitEvent]:
        """The rows it must have become."""
        return [VisitEvent.model_validate_json(u.body) for u in self.uploads if u.expected == "merged"]


@pytest.fixture(scope="module")
def sample(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Some forty files, put and waited for with the commands themselves."""
    folder = tmp_path_factory.mktemp("sample")
    uploads = generate(7, 44, share_bad=0.15, share_foreign=0.05, share_repeated=0.1, share_sandbox=0.1)
    with working_stack(emulator, folder) as stack:
        puts = [done("put", P, part, "--json") for part in write_files(uploads, folder / "files")]
        yield Sample(stack, uploads, puts, done("wait", "--idle", "--timeout", "60"))


@pytest.fixture(scope="module")
def exported(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, downloaded once."""
    folder = tmp_path_factory.mktemp("out")
    ended = done("export", P, folder, "--json")
    assert ended.json == {"files": [str(folder / "events.parquet")]}
    assert sample.waited.code == 0
    return folder / "events.parquet"


def test_put_says_what_went_where(sample: Sample) -> None:
    """Every file of every folder; the progress is on standard error, and waiting ends with one word."""
    assert sum(put.json["files"] for put in sample.puts) == len(sample.uploads)
    assert {(put.json["bucket"], put.json["prefix"]) for put in sample.puts} == {
        (sample.stack.resource("raw"), "events/")
    }
    assert "files put: " in sample.puts[0].err
    assert sample.waited.out == "idle\n"


def test_the_sample_has_everything(sample: Sample) -> None:
    """Otherwise the tests below would prove little."""
    expected = sample.expected
    assert expected.merged > 20
    assert expected.filtered
    assert expected.ignored
    assert expected.quarantined.keys() == {"malformed-json", "invalid-record"}


def test_status_lists_runs_with_their_counts(sample: Sample) -> None:
    """The day's events are one run; it balances, and its counts are those of the files."""
    run = next(run for run in done("status", "--json").json if run["mode"] == "events")
    expected = sample.expected
    validate, merge = run["conservation"]
    assert (run["balanced"], run["pending_segments"], run["problems"]) == (True, 0, [])
    assert run["records"] == merge["passed_on"] == expected.merged
    assert validate["quarantined"] == sum(expected.quarantined.values())
    assert (validate["filtered"], validate["ignored"]) == (expected.filtered, expected.ignored)
    table = done("status").out
    assert run["run_id"] in table
    assert "open, settled" in table


def test_status_of_one_run_is_its_conservation_table(sample: Sample) -> None:
    """Hops with what went in and what came of it, and a verdict in words."""
    run = next(run for run in done("status", "--json").json if run["mode"] == "events")
    shown = done("status", run["run_id"])
    assert "balanced: every occurrence is accounted for" in shown.out
    assert [hop in shown.out for hop in ("validate", "merge", "duplicates", "missing")] == [True] * 4
    assert done("status", run["run_id"], "--json").json == run
    unknown = tidegate("status", "nothing")
    assert (unknown.code, unknown.err) == (1, "error: there is no run 'nothing'; `tidegate status` lists them\n")
    assert sample.stack.name


def test_every_reader_reads_the_same_rows(sample: Sample, exported: Path) -> None:
    """polars, pyarrow and DuckDB find the uploaded events, each as often as it was uploaded, sorted by time."""
    wanted = Counter(tuple(getattr(event, column) for column in COLUMNS) for event in sample.events)
    by_polars = [tuple(row.values()) for row in pl.read_parquet(exported).to_dicts()]
    by_pyarrow = [tuple(row.values()) for row in pq.read_table(exported).to_pylist()]
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.read_parquet(str(exported)).to_arrow_table().to_pylist()
        by_duckdb = [tuple(row.values()) for row in found]
    assert by_polars == by_pyarrow == by_duckdb
    assert Counter(by_polars) == wanted
    moments = [row[-1] for row in by_polars]
    assert moments == sorted(moments)


def test_the_schema_is_the_promised_one(exported: Path) -> None:
    """Columns in order with their types; one Snappy file, sorted."""
    text = {name: pl.String() for name in COLUMNS}
    assert dict(pl.read_parquet_schema(exported)) == {
        **text,
        "pipeline_adcid": pl.Int32(),
        "visit_date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
    schema = pq.read_schema(exported)
    assert tuple(schema.names) == COLUMNS
    types = {field.name: field.type for field in schema}
    assert types["timestamp"] == pa.timestamp("us", tz="UTC")
    assert (types["pipeline_adcid"], types["visit_date"]) == (pa.int32(), pa.date32())
    metadata = pq.ParquetFile(exported).metadata
    assert {metadata.row_group(0).column(n).compression for n in range(len(COLUMNS))} == {"SNAPPY"}


def _visit(event: VisitEvent) -> tuple[Any, ...]:
    return event.ptid, event.visit_date.isoformat(), event.visit_number


def _latest(events: list[VisitEvent]) -> dict[tuple[Any, ...], datetime]:
    found: dict[tuple[Any, ...], datetime] = {}
    for event in events:
        found[_visit(event)] = max(found.get(_visit(event), event.timestamp), event.timestamp)
    return found


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["ptid"], record["visit_date"], record["visit_number"]


def test_the_named_queries_answer(sample: Sample) -> None:
    """Latest per visit, evolution, completeness and the monthly report, against the uploaded events."""
    visits = Counter(_visit(event) for event in sample.events)
    latest = done("query", P, "latest_per_visit", "--json").json
    assert {_place(r): datetime.fromisoformat(r["timestamp"]) for r in latest} == _latest(sample.events)
    assert len(latest) == len(visits)
    timeline = done("query", P, "evolution_timeline", "--json").json
    assert Counter(_place(record) for record in timeline) == visits
    keys = [(*_place(record), record["timestamp"]) for record in timeline]
    assert keys == sorted(keys)
    several = {visit: count for visit, count in visits.items() if count > 1}
    completeness = done("query", P, "completeness", "--json").json
    assert {_place(record): record["event_count"] for record in completeness} == several
    report = done("query", P, "monthly_report", "--json").json
    assert Counter({(r["center_label"], r["month"], r["latest_status"]): r["visits"] for r in report}).total() == len(
        visits
    )
    assert "visits" in done("query", P, "monthly_report").out
    assert "monthly_report" in done("query", P).out


def test_the_filter_takes_parameters(sample: Sample) -> None:
    """Any of them, alone or together; one that it does not have is wrong usage."""
    event = sample.events[0]
    day = event.visit_date.isoformat()
    for given in (
        {},
        {"action": event.action},
        {"center_label": event.center_label, "from": day},
        {"action": event.action, "from": day, "to": day},
    ):
        arguments = [part for name, value in given.items() for part in ("--param", f"{name}={value}")]
        wanted = [
            e
            for e in sample.events
            if given.get("action", e.action) == e.action
            and given.get("center_label", e.center_label) == e.center_label
            and given.get("from", "") <= e.visit_date.isoformat() <= given.get("to", "9")
        ]
        assert len(done("query", P, "filtered", *arguments, "--json").json) == len(wanted)
    assert tidegate("query", P, "filtered", "--param", "ptid=A").code == 2


def test_ad_hoc_sql(sample: Sample) -> None:
    """The output under its entity's name; wrong SQL is one line."""
    assert done("query", P, "--sql", "SELECT count(*) AS n FROM events", "--json").json == [{"n": len(sample.events)}]
    wrong = tidegate("query", P, "--sql", "SELECT nothing FROM events")
    assert wrong.code == 2
    assert wrong.err.splitlines()[-1].startswith("error: the query failed: ")


def test_quarantine_is_listed_shown_and_replayed(sample: Sample) -> None:
    """A replay judges the same versions again: they are still bad, counted once, and no row is touched."""
    bad = sum(sample.expected.quarantined.values())
    listed = done("quarantine", "list", P, "--json").json
    assert sum(group["records"] for group in listed) == bad
    reasons = Counter[str]()
    for group in listed:
        reasons[group["signature"].split()[0]] += group["records"]
        shown = done("quarantine", "show", P, group["signature"], "--json").json
        assert len(shown) == group["records"]
    assert reasons == Counter(sample.expected.quarantined)
    key = listed[0]["example"]
    assert key in done("quarantine", "show", P, key).out
    assert tidegate("quarantine", "show", P, "nothing").code == 1

    replayed = done("quarantine", "replay", P, "--timeout", "60")
    assert "balanced: every occurrence is accounted for" in replayed.out
    run = next(run for run in done("status", "--json").json if run["mode"] == "replay")
    assert (run["state"], run["records"], run["balanced"]) == ("succeeded", 0, True)
    hops = {hop["name"]: hop for hop in run["conservation"]}
    assert (hops["plan"]["passed_on"], hops["validate"]["quarantined"]) == (bad, bad)
    again = done("quarantine", "list", P, "--json").json
    assert {g["signature"]: g["records"] for g in again} == {g["signature"]: g["records"] for g in listed}
    assert done("query", P, "--sql", "SELECT count(*) AS n FROM events", "--json").json == [{"n": len(sample.events)}]


def _send(stack: Stack, queue: str, body: str) -> None:
    async def send(session: Session) -> None:
        sqs = session.clients.sqs
        url = (await sqs.get_queue_url(QueueName=stack.resource(queue)))["QueueUrl"]
        await sqs.send_message(QueueUrl=url, MessageBody=body)

    in_session(send)


def test_dead_letters_are_listed_shown_and_sent_back(sample: Sample) -> None:
    """Looking does not move them. A segment that is merged again after a redrive adds nothing."""
    segment = _validated(sample.stack)[0]
    command = MergeSegment(bucket=sample.stack.resource("validated"), key=segment)
    message = Message.wrap(command, message_id=uuid4(), run_id="r", occurred_at=NOON)
    _send(sample.stack, "merge-segments-dlq", message.model_dump_json())
    _send(sample.stack, "plan-requests-dlq", "poison [not markup]")
    counts = dict.fromkeys((queue.name for queue in TOPOLOGY.queues), 0) | {"plan-requests": 1, "merge-segments": 1}
    assert done("dlq", "list", "--json").json == counts
    assert [m["kind"] for m in done("dlq", "show", "merge-segments", "--json").json] == ["MergeSegment"]
    shown = done("dlq", "show", "plan-requests")
    assert "not JSON" in shown.out
    assert "poison [not markup]" in shown.out
    assert done("dlq", "list", "--json").json == counts

    assert done("dlq", "redrive", "merge-segments").out == "merge-segments: 1 messages sent back\n"
    done("wait", "--idle", "--timeout", "60")
    assert done("dlq", "list", "--json").json == counts | {"merge-segments": 0}
    assert done("query", P, "--sql", "SELECT count(*) AS n FROM events", "--json").json == [{"n": len(sample.events)}]


def _validated(stack: Stack) -> list[str]:
    async def keys(session: Session) -> list[str]:
        return [info.key async for info in session.objects.list(stack.resource("validated"))]

    return in_session(keys)


def test_versions_are_listed(sample: Sample) -> None:
    """Newest first, each with what it added; the newest holds everything."""
    versions = done("checkpoint", "versions", P, "--json").json
    assert [v["version"] for v in versions] == list(range(len(versions), 0, -1))
    assert versions[0]["total_rows"] == sum(v["new_rows"] for v in versions) == len(sample.events)
    assert "Versions of s3://" in done("checkpoint", "versions", P).out
    assert "has no commits yet" in done("checkpoint", "versions", P, "--key", "checkpoints/none.parquet").out


def test_a_scan_finds_everything_settled_and_sets_the_watermark(sample: Sample) -> None:
    """Zero new events is a success. From then on the watermark can be shown, rewound and reset, never advanced."""
    answer = done("run", P, "--wait", "--json", "--timeout", "60").json
    assert (answer["statusCode"], answer["new_events_processed"]) == (200, 0)
    assert answer["total_events"] == len(sample.events)
    assert datetime.fromisoformat(answer["last_processed_timestamp"]) == max(e.timestamp for e in sample.events)
    mark = done("watermark", "show", P, "--json").json
    assert (mark["name"], mark["run_id"]) == ("visit_events#events", answer["run_id"])
    assert done("watermark", "list", "--json").json == [mark]

    accepted = len(sample.uploads) - sample.expected.ignored
    dry = done("watermark", "reset", P, "--dry-run").out
    assert dry.startswith(f"{accepted} objects would be looked up again")
    earlier = (datetime.fromisoformat(mark["cursor"]) - timedelta(days=2)).isoformat()
    assert done("watermark", "rewind", P, "--to", earlier, "--dry-run").out == dry
    assert done("watermark", "show", P, "--json").json == mark

    later = (datetime.fromisoformat(mark["cursor"]) + timedelta(days=1)).isoformat()
    assert tidegate("watermark", "rewind", P, "--to", later).code == 2
    assert earlier in done("watermark", "rewind", P, "--to", earlier).out
    assert done("watermark", "show", P, "--json").json["cursor"] == earlier
    assert "reset" in done("watermark", "reset", P).out
    assert done("watermark", "show", P, "--json").json["cursor"] is None

    again = done("run", P, "--wait", "--json", "--timeout", "60").json
    assert (again["new_events_processed"], again["total_events"]) == (0, len(sample.events))
    assert done("watermark", "show", P, "--json").json["run_id"] == again["run_id"]


def test_a_run_can_be_followed_later(sample: Sample) -> None:
    """Without --wait the command ends at once and names the run."""
    requested = done("run", P, "--json").json
    assert requested.keys() == {"run_id"}
    waited = done("wait", requested["run_id"], "--timeout", "60")
    assert "succeeded" in waited.out
    assert json.dumps(sample.stack.name) not in waited.err
