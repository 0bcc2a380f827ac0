"""What every Ledger does with segments that are fetched, held against the fake and against DynamoDB."""

import asyncio
from dataclasses import replace

import pytest

from contracts.runs import RunMode
from services.runtime.ledger import SegmentEntry, Step
from tests.conformance.ledger_bench import COUNTS, NOW, PLACE, SETTLEMENT, Bench, OnDynamo, OnTheFake, run

RAW = "raw/raw/2026/01/01/visits/r1/s1.json.gz"


class FetchConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_a_fetched_segment_goes_from_step_to_step(self, bench: Bench) -> None:
        """Planned, fetched, validated, merged: what was fetched, and where to, stays known to the end."""
        await bench.ledger.open_run(run(mode=RunMode.INCREMENTAL))
        await bench.ledger.plan_segments("r1", [("s1", 0)])
        planned = SegmentEntry("r1", "s1", Step.PLANNED, 0, updated_at=NOW)
        assert await bench.ledger.segment("r1", "s1") == planned
        await bench.ledger.segment_fetched("r1", "s1", 5, RAW)
        fetched = replace(planned, step=Step.FETCHED, fetched=5, raw_location=RAW)
        assert await bench.ledger.segment("r1", "s1") == fetched
        await bench.validate("s1")
        validated = replace(fetched, step=Step.VALIDATED, counts=COUNTS, location=PLACE)
        assert await bench.ledger.segment("r1", "s1") == validated
        assert await bench.merge("s1")
        assert await bench.ledger.segments("r1") == [
            replace(validated, step=Step.MERGED, settlement=SETTLEMENT, version=1)
        ]

    async def test_an_empty_range_was_fetched_too(self, bench: Bench) -> None:
        """No rows are a number of rows, not an unknown one."""
        await bench.start("s1")
        await bench.ledger.segment_fetched("r1", "s1", 0, RAW)
        entry = await bench.ledger.segment("r1", "s1")
        assert entry is not None
        assert (entry.step, entry.fetched, entry.raw_location) == (Step.FETCHED, 0, RAW)

    async def test_a_fetch_stands(self, bench: Bench) -> None:
        """A redelivered fetch does not change the rows that were entered first."""
        await bench.start("s1")
        await bench.ledger.segment_fetched("r1", "s1", 5, RAW)
        before = await bench.ledger.segment("r1", "s1")
        await bench.ledger.segment_fetched("r1", "s1", 6, "raw/elsewhere")
        assert await bench.ledger.segment("r1", "s1") == before

    @pytest.mark.parametrize("merged", [False, True])
    async def test_a_fetch_may_be_overtaken(self, bench: Bench, *, merged: bool) -> None:
        """The object's event is faster than its ledger entry: the step stays, the rows are added, and only once."""
        await bench.start("s1")
        await bench.validate("s1")
        if merged:
            await bench.merge("s1")
        before = await bench.ledger.segment("r1", "s1")
        assert before is not None
        await bench.ledger.segment_fetched("r1", "s1", 5, RAW)
        after = replace(before, fetched=5, raw_location=RAW)
        assert await bench.ledger.segment("r1", "s1") == after
        await bench.ledger.segment_fetched("r1", "s1", 6, "raw/elsewhere")
        assert await bench.ledger.segment("r1", "s1") == after

    async def test_planning_after_a_fetch_overwrites_nothing(self, bench: Bench) -> None:
        """A planner that is continued enters its segments again while they are fetched."""
        await bench.start("s1")
        await bench.ledger.segment_fetched("r1", "s1", 5, RAW)
        before = await bench.ledger.segment("r1", "s1")
        await bench.ledger.plan_segments("r1", [("s1", 0)])
        assert await bench.ledger.segment("r1", "s1") == before

    async def test_an_unplanned_segment_is_created_by_its_fetch(self, bench: Bench) -> None:
        """A ledger that was lost since the plan is filled again from what happens."""
        await bench.ledger.segment_fetched("r1", "s1", 5, RAW)
        assert await bench.ledger.segment("r1", "s1") == SegmentEntry(
            "r1", "s1", Step.FETCHED, updated_at=NOW, fetched=5, raw_location=RAW
        )
        assert await bench.ledger.run("r1") is None

    async def test_twenty_fetches_at_once(self, bench: Bench) -> None:
        """Of twenty concurrent entries one counts, its rows and its location together."""
        await bench.start("s1")
        entries = (bench.ledger.segment_fetched("r1", "s1", number, f"raw/{number}") for number in range(20))
        await asyncio.gather(*entries)
        entry = await bench.ledger.segment("r1", "s1")
        assert entry is not None
        assert entry.raw_location == f"raw/{entry.fetched}"


class TestFakeLedgerFetches(OnTheFake, FetchConformance):
    """The fake keeps the contract."""


class TestDynamoLedgerFetches(OnDynamo, FetchConformance):
    """DynamoDB keeps the contract."""
