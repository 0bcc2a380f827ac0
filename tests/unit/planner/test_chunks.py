"""Runs of chunked jobs: what is planned and dispatched, and what a dry run shows."""

from datetime import date

import pytest

from contracts.chunks import ChunkPayload, ProcessChunk
from contracts.plans import PlanPreview, PreviewedSegment
from contracts.runs import PlanRun, RunMode, RunState, ScheduledScan
from services.runtime.chunking.ports import Window
from services.runtime.failures import PermanentError, TemporaryError
from tests.fakes.leases import FakeLeases
from tests.unit.planner.chunking import ARCHIVE, BLIND, CHUNKS, REPORT, World, request

YEAR = Window(date(2025, 1, 1), date(2026, 1, 31))
"""What the jobs declare, on the day on which the world's clock begins."""


async def test_a_run_is_planned_and_dispatched() -> None:
    """A snapshot, balanced chunks of whole keys in both ledgers, and a command for each; the last one ends the run."""
    world = World()
    world.keys(4, 6, 8, 2, 1)
    run = await world.plan("r1")
    assert (run.mode, run.state, run.planned) == (RunMode.CHUNKS, RunState.RUNNING, 3)
    assert (run.scan.listed, run.scan.dispatched) == (21, 21)
    assert world.tables.taken == [("r1", YEAR)]
    assert world.tables.registered == {("r1", "0"): 10, ("r1", "1"): 10, ("r1", "2"): 1}
    commands = [ProcessChunk.model_validate(message.body) for message in world.publisher.commands(CHUNKS)]
    assert commands == [ProcessChunk(pipeline=REPORT, run_id="r1", chunk_id=str(n)) for n in range(3)]
    await world.work()
    assert (world.run("r1").state, world.tables.ended) == (RunState.SUCCEEDED, ["r1"])
    assert [(fact["run_id"], fact["records"]) for fact in world.facts("RunCompleted")] == [("r1", 21)]


async def test_a_request_sets_days_and_sizes() -> None:
    """What its payload says stands before the declaration."""
    world = World()
    world.keys(1, 1, 1, 1)
    payload = ChunkPayload(first_day=date(2025, 6, 1), last_day=date(2025, 6, 30), max_keys=2)
    await world.plan("r1", chunk=payload)
    assert world.tables.taken == [("r1", Window(date(2025, 6, 1), date(2025, 6, 30)))]
    assert [chunk.keys for chunk in world.kept("r1").chunks] == [2, 2]


async def test_a_schedule_starts_one_run_a_slot() -> None:
    """However often the slot is delivered, with what its payload says."""
    world = World()
    world.keys(1, 1)
    slot = ScheduledScan.model_validate({"pipeline": REPORT, "slot": "2026-01-01T03:30:00Z", "chunk": {"max_keys": 1}})
    for _ in range(2):
        assert not (await world.deliver(slot)).failed
    run_id = "report-slot-20260101T033000Z"
    assert world.commands() == [(run_id, "0"), (run_id, "1")]


async def test_nothing_to_do_ends_at_once() -> None:
    """A run without chunks has succeeded when it is planned."""
    world = World()
    run = await world.plan("r1")
    assert (run.state, run.planned, world.commands()) == (RunState.SUCCEEDED, 0, [])
    assert (world.tables.ended, len(world.facts("RunCompleted"))) == (["r1"], 1)


async def test_a_repetition_changes_nothing() -> None:
    """Of a run that is under way, or that has succeeded; the announcement may come again."""
    world = World()
    world.keys(10, 10)
    await world.plan("r1")
    await world.plan("r1")
    assert world.commands() == [("r1", "0"), ("r1", "1")]
    await world.work()
    await world.plan("r1", receives=2)
    assert (world.commands(), len(world.tables.taken), len(world.facts("RunCompleted"))) == ([], 1, 1)


async def test_planning_is_one_at_a_time() -> None:
    """Whoever holds the job's lease keeps others waiting, but not for its whole life."""
    world = World()
    await FakeLeases(world.clock, world.leases).acquire("plan:report", "other", 60)
    assert (await world.deliver(request("r1"))).delays == {"d": 15.0}
    world.clock.advance(61)
    assert (await world.plan("r1")).state is RunState.SUCCEEDED


async def test_what_is_no_run_of_the_job_is_refused() -> None:
    """A replay, a run of another job, or a name that nobody declared: nothing is touched."""
    world = World()
    world.keys(1)
    await world.plan("a", name=ARCHIVE)
    before = dict(world.ledger.table.runs)
    refused = [request("r1", mode=RunMode.REPLAY), request("a"), request("r1", "reports")]
    outcomes = [await world.deliver(each) for each in refused]
    assert [outcome.reasons["d"] for outcome in outcomes] == [
        "report: a chunked job is not replayed; run it again, it takes a new snapshot",
        "run a is not one of report, but one of archive",
        "there is no pipeline 'reports'; there are ['archive', 'blind', 'report']",
    ]
    assert world.ledger.table.runs == before


async def test_a_dry_run_shows_chunks() -> None:
    """With their sizes, the window's days and warnings of keys that are too large; nothing else is written."""
    world = World()
    world.keys(10, 1, 2, 3, 25)
    preview = await world.preview()
    assert preview == PlanPreview(
        run_id="dry",
        pipeline=REPORT,
        mode=RunMode.CHUNKS,
        segments=[
            PreviewedSegment(segment_id="0", label="1 key", rows=10),
            PreviewedSegment(segment_id="1", label="3 keys", rows=6),
            PreviewedSegment(segment_id="2", label="1 key", rows=25),
        ],
        rows=41,
        requests=0,
        messages=3,
        start="2025-01-01",
        end="2026-01-31",
        warnings=["one (customer_id) has 25 rows, more than 20: it is a chunk of its own"],
    )
    assert list(world.objects.buckets["state"].keys) == ["plans/dry/preview.json"]
    assert (world.ledger.table.runs, world.tables.taken, world.commands(), world.leases.records) == ({}, [], [], {})


async def test_a_preview_is_what_the_run_does() -> None:
    """The same chunks, if nothing changes meanwhile, also while another run of the job is under way."""
    world = World()
    world.keys(3, 7, 1, 1, 1, 1, 1, 9, 30)
    preview = await world.preview(chunk=ChunkPayload(target_rows=12))
    await world.plan("r1", chunk=ChunkPayload(target_rows=12))
    assert await world.preview(chunk=ChunkPayload(target_rows=12)) == preview
    plan = world.kept("r1")
    assert [(c.segment_id, c.rows) for c in preview.segments] == [(c.chunk_id, c.rows) for c in plan.chunks]
    assert (preview.warnings, preview.start) == (plan.warnings, plan.first_day.isoformat())


async def test_a_preview_without_a_statement_of_its_own() -> None:
    """A job without a snapshot is previewed by its distribution; one with a snapshot says what it lacks."""
    world = World()
    world.keys(1)
    assert (await world.preview(ARCHIVE)).messages == 1
    assert (await world.preview(BLIND)).error == (
        "blind declares no sql.preview: before there is a snapshot, nobody can say what it would hold"
    )


async def test_a_preview_that_cannot_be_had_says_why() -> None:
    """At once where the database refuses or the days are wrong; after a while where it does not answer."""
    world = World()
    wrong = await world.preview(chunk=ChunkPayload(first_day=date(2027, 1, 1)))
    assert wrong.error == "the run's first day 2027-01-01 is after its last day 2026-01-31"
    world.tables.trouble["preview"] = PermanentError("permission denied for table visits")
    assert (await world.preview()).error == "permission denied for table visits"
    world.tables.trouble["preview"] = TemporaryError("the server is starting up", delay=15)
    dry = PlanRun(pipeline=REPORT, run_id="dry", dry_run=True)
    assert (await world.deliver(dry, receives=9)).delays == {"d": 15}
    assert (await world.preview(receives=10)).error == "the server is starting up"


@pytest.mark.parametrize("name", [REPORT, ARCHIVE])
async def test_every_run_works_on_what_there_is_then(name: str) -> None:
    """A later run takes a snapshot of its own."""
    world = World()
    world.keys(1)
    await world.plan("r1", name=name)
    await world.work()
    world.keys(1, 10)
    world.clock.advance(60)
    assert (await world.plan("r2", name=name)).planned == 2
    assert [run_id for run_id, _ in world.tables.taken] == ["r1", "r2"]
