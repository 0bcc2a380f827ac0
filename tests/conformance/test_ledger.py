"""What every Ledger does with runs, held against the fake and against DynamoDB."""

import asyncio
from dataclasses import replace

import pytest

from contracts.runs import RunMode, RunState
from services.runtime.failures import MissingObjectError, UnreachableError
from services.runtime.ledger import Collection, ScanCounts
from tests.conformance.ledger_bench import CUT, NOW, PLACE, SCAN, SETTLEMENT, Bench, OnDynamo, OnTheFake, run
from tests.fakes.network import Fate

NOTHING_NEW = Collection(start="2025-02-19T02:00:00.000", end="2025-02-19T02:00:00.000")
EVERYTHING = Collection(
    start="2025-02-19T02:00:00.000",
    end="2025-02-21T02:00:00.000",
    complete_until="2025-02-19T02:00:00.000",
    limit=10_000,
    expected_rows=9_876,
    mirror="processed/pipeline_state/last_run_timestamp.json",
    resume="nyc_311#service_requests/forced",
    resume_version=7,
)


class RunConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_what_was_never_written_is_not_there(self, bench: Bench) -> None:
        """An unknown run is None and has no segments."""
        assert await bench.ledger.run("r1") is None
        assert await bench.ledger.segment("r1", "s1") is None
        assert await bench.ledger.segments("r1") == []
        assert await bench.ledger.runs() == []

    async def test_a_run_is_opened_once(self, bench: Bench) -> None:
        """The second opening is told so and changes nothing."""
        assert await bench.ledger.open_run(run())
        assert not await bench.ledger.open_run(replace(run(), pipeline="others"))
        assert await bench.read() == run()

    async def test_one_of_twenty_opens_a_run(self, bench: Bench) -> None:
        """Of twenty concurrent openings one is told that it opened the run."""
        opened = await asyncio.gather(
            *(bench.ledger.open_run(replace(run(), destination=f"b/{number}")) for number in range(20))
        )
        (winner,) = [number for number, won in enumerate(opened) if won]
        assert (await bench.read()).destination == f"b/{winner}"

    async def test_starting_records_the_plan(self, bench: Bench) -> None:
        """PLANNING becomes RUNNING with number of segments, scan counts and frontier."""
        await bench.start("s1", "s2")
        assert await bench.read() == replace(run(), state=RunState.RUNNING, planned=2, scan=SCAN, frontier="2026")

    async def test_a_run_starts_once(self, bench: Bench) -> None:
        """A second start changes nothing; nor does a start of a run that has ended."""
        await bench.start("s1")
        before = await bench.read()
        await bench.ledger.start_run("r1", planned=9, scan=ScanCounts(), frontier="2099")
        assert await bench.read() == before
        await bench.ledger.finish_run("r1", RunState.FAILED)
        await bench.ledger.start_run("r1", planned=9, scan=ScanCounts(), frontier="2099")
        assert (await bench.read()).state is RunState.FAILED

    @pytest.mark.parametrize("collection", [NOTHING_NEW, EVERYTHING])
    async def test_starting_records_what_is_collected(self, bench: Bench, collection: Collection) -> None:
        """What a collecting run covers is read as it was written, with all that is unset, until the run has ended."""
        opened = run(mode=RunMode.INCREMENTAL)
        await bench.ledger.open_run(opened)
        assert (await bench.read()).collection is None
        await bench.ledger.start_run(
            "r1", planned=3, scan=ScanCounts(), frontier="2025", watermark_version=4, collection=collection
        )
        started = replace(
            opened, state=RunState.RUNNING, planned=3, frontier="2025", watermark_version=4, collection=collection
        )
        assert await bench.read() == started
        assert await bench.ledger.runs() == [started]
        await bench.ledger.start_run("r1", planned=3, scan=ScanCounts(), frontier="2025", collection=None)
        await bench.ledger.finish_run("r1", RunState.SUCCEEDED)
        assert await bench.read() == replace(started, state=RunState.SUCCEEDED, finished_at=NOW)

    async def test_an_events_run_has_no_plan(self, bench: Bench) -> None:
        """Its number of segments stays unknown however many are settled."""
        await bench.ledger.open_run(run(mode=RunMode.EVENTS))
        await bench.validate("s1")
        assert await bench.merge("s1")
        found = await bench.read()
        assert (found.state, found.planned, found.settled) == (RunState.RUNNING, None, 1)

    @pytest.mark.parametrize("started", [False, True])
    async def test_a_run_ends_once(self, bench: Bench, *, started: bool) -> None:
        """The first end stands, with its reason and time; later ones are told that they came late."""
        await bench.ledger.open_run(run())
        if started:
            await bench.ledger.start_run("r1", planned=0, scan=ScanCounts(), frontier=None)
        assert await bench.ledger.finish_run("r1", RunState.FAILED, reason="access denied")
        assert not await bench.ledger.finish_run("r1", RunState.SUCCEEDED)
        found = await bench.read()
        assert (found.state, found.reason, found.finished_at) == (RunState.FAILED, "access denied", NOW)

    async def test_one_of_twenty_ends_a_run(self, bench: Bench) -> None:
        """Of twenty concurrent ends one is told that it ended the run."""
        await bench.start()
        ended = await asyncio.gather(
            *(bench.ledger.finish_run("r1", RunState.FAILED, reason=str(number)) for number in range(20))
        )
        (winner,) = [number for number, won in enumerate(ended) if won]
        assert (await bench.read()).reason == str(winner)

    async def test_a_block_lasts_until_the_next_merge(self, bench: Bench) -> None:
        """Why nothing moves is shown until something moves."""
        await bench.start("s1", "s2")
        await bench.ledger.block_run("r1", "checkpoint is corrupt")
        assert (await bench.read()).reason == "checkpoint is corrupt"
        await bench.validate("s1")
        assert (await bench.read()).reason == "checkpoint is corrupt"
        await bench.merge("s1")
        found = await bench.read()
        assert (found.reason, found.settled, found.state) == (None, 1, RunState.RUNNING)

    async def test_a_block_does_not_outlive_its_run(self, bench: Bench) -> None:
        """A finished run shows its own reason or none, is not blocked any more, and a late merge leaves it so."""
        await bench.start("s1", "s2")
        await bench.ledger.block_run("r1", "blocked")
        await bench.ledger.finish_run("r1", RunState.SUCCEEDED)
        assert (await bench.read()).reason is None
        await bench.ledger.block_run("r1", "blocked again")
        assert (await bench.read()).reason is None
        await bench.ledger.open_run(run("r2"))
        await bench.ledger.finish_run("r2", RunState.FAILED, reason="access denied")
        await bench.ledger.segment_merged("r2", "s1", SETTLEMENT, location=PLACE, version=1)
        assert (await bench.read("r2")).reason == "access denied"

    async def test_the_newest_runs_come_first(self, bench: Bench) -> None:
        """Runs are listed by when they started, newest first, as they are now, up to the limit."""
        for number in (2, 0, 1, 3):
            await bench.ledger.open_run(run(f"r{number}", second=number))
        await bench.ledger.finish_run("r2", RunState.FAILED, reason="why")
        listed = await bench.ledger.runs(limit=3)
        assert [found.run_id for found in listed] == ["r3", "r2", "r1"]
        assert listed[1].reason == "why"
        assert len(await bench.ledger.runs()) == 4

    async def test_many_runs_are_listed(self, bench: Bench) -> None:
        """More runs than one BatchGetItem holds (100) are listed in order."""
        await asyncio.gather(*(bench.ledger.open_run(run(f"r{number}", second=number)) for number in range(130)))
        listed = await bench.ledger.runs(limit=120)
        assert [found.run_id for found in listed] == [f"r{number}" for number in range(129, 9, -1)]

    async def test_a_run_that_was_never_opened_is_missing(self, bench: Bench) -> None:
        """What belongs to a run is refused where there is no run, and leaves nothing behind."""
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.merge("s1")
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.ledger.start_run("r1", planned=0, scan=SCAN, frontier=None)
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.ledger.finish_run("r1", RunState.FAILED)
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.ledger.block_run("r1", "why")
        assert await bench.ledger.run("r1") is None
        assert await bench.ledger.segments("r1") == []

    async def test_an_opening_sent_twice_opened_it(self, bench: Bench) -> None:
        """The SDK repeats a write whose first try won: the caller did open, and did end, the run."""
        bench.network.next(Fate.REPEATED)
        assert await bench.faulty.open_run(run())
        bench.network.next(Fate.REPEATED)
        assert await bench.faulty.finish_run("r1", RunState.FAILED, reason="why")

    @pytest.mark.parametrize("fate", CUT)
    async def test_runs_go_on_after_unknown_outcomes(self, bench: Bench, fate: Fate) -> None:
        """Every step can be repeated when its outcome is unknown; the run is as if each had been taken once."""
        ledger = bench.faulty
        for step in (
            lambda: ledger.open_run(run()),
            lambda: ledger.start_run("r1", planned=1, scan=SCAN, frontier="2026"),
            lambda: ledger.block_run("r1", "blocked"),
            lambda: ledger.finish_run("r1", RunState.SUCCEEDED),
        ):
            bench.network.next(fate)
            with pytest.raises(UnreachableError):
                await step()
            await step()
        assert await bench.read() == replace(
            run(), state=RunState.SUCCEEDED, planned=1, scan=SCAN, frontier="2026", finished_at=NOW
        )
        assert len(await bench.ledger.runs()) == 1


class TestFakeLedger(OnTheFake, RunConformance):
    """The fake keeps the contract."""


class TestDynamoLedger(OnDynamo, RunConformance):
    """DynamoDB keeps the contract."""
