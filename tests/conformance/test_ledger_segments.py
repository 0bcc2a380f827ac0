"""What every Ledger does with segments, held against the fake and against DynamoDB."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from contracts.runs import RunMode
from contracts.segments import SegmentCounts
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.failures import UnreachableError
from services.runtime.ledger import SegmentEntry, Step
from tests.conformance.ledger_bench import COUNTS, CUT, NOW, PLACE, SETTLEMENT, Bench, OnDynamo, OnTheFake, run
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.network import Fate

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

RAW = "raw/raw/2026/01/01/visits/r1/s1.json.gz"
MERGED = SegmentEntry("r1", "s1", Step.MERGED, 5, COUNTS, SETTLEMENT, PLACE, 1, NOW)


class SegmentConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_a_segment_goes_from_step_to_step(self, bench: Bench) -> None:
        """Planned, validated, merged: each step adds what it knows."""
        await bench.start("s1")
        planned = SegmentEntry("r1", "s1", Step.PLANNED, 5, updated_at=NOW)
        assert await bench.ledger.segment("r1", "s1") == planned
        await bench.validate("s1")
        validated = replace(planned, step=Step.VALIDATED, counts=COUNTS, location=PLACE)
        assert await bench.ledger.segment("r1", "s1") == validated
        assert await bench.merge("s1")
        assert await bench.ledger.segment("r1", "s1") == MERGED
        assert (await bench.read()).settled == 1

    async def test_a_segment_without_rows_has_no_version(self, bench: Bench) -> None:
        """Merging a segment that added nothing to the checkpoint settles it all the same."""
        await bench.start("s1")
        assert await bench.merge("s1", version=None)
        entry = await bench.ledger.segment("r1", "s1")
        assert entry is not None
        assert (entry.step, entry.version) == (Step.MERGED, None)

    async def test_planning_again_overwrites_nothing(self, bench: Bench) -> None:
        """A plan that is entered again adds what is missing and leaves what went further."""
        await bench.start("s1", "s2")
        await bench.validate("s1")
        await bench.merge("s1")
        await bench.ledger.plan_segments("r1", [("s1", 9), ("s2", 9), ("s3", 9)])
        entries = await bench.ledger.segments("r1")
        assert [(entry.segment_id, entry.step, entry.planned) for entry in entries] == [
            ("s1", Step.MERGED, 5),
            ("s2", Step.PLANNED, 5),
            ("s3", Step.PLANNED, 9),
        ]

    async def test_a_large_plan_is_entered_whole(self, bench: Bench) -> None:
        """Two planners at once enter 300 segments; they are listed by id, and only those of the run."""
        await bench.ledger.open_run(run())
        plan = [(f"s{number:03}", number) for number in range(300)]
        await asyncio.gather(*(bench.ledger.plan_segments("r1", plan) for _ in range(2)))
        await bench.ledger.plan_segments("r2", [("other", 1)])
        assert [(entry.segment_id, entry.planned) for entry in await bench.ledger.segments("r1")] == plan

    async def test_an_unplanned_segment_is_created_by_its_validation(self, bench: Bench) -> None:
        """Segments that events formed have no plan."""
        await bench.ledger.open_run(run(mode=RunMode.EVENTS))
        await bench.validate("s1")
        assert await bench.ledger.segment("r1", "s1") == SegmentEntry(
            "r1", "s1", Step.VALIDATED, counts=COUNTS, location=PLACE, updated_at=NOW
        )

    async def test_a_validation_stands(self, bench: Bench) -> None:
        """A redelivered validation does not change the counts that were entered first."""
        await bench.start("s1")
        await bench.validate("s1")
        await bench.validate("s1", SegmentCounts(received=5, duplicates=5))
        entry = await bench.ledger.segment("r1", "s1")
        assert entry is not None
        assert entry.counts == COUNTS

    async def test_a_merged_segment_stays_merged(self, bench: Bench) -> None:
        """A validation that is entered late changes nothing of a merged segment."""
        await bench.start("s1")
        await bench.validate("s1")
        await bench.merge("s1")
        await bench.validate("s1", SegmentCounts(received=1, rows=1))
        assert await bench.ledger.segment("r1", "s1") == MERGED

    async def test_a_merge_may_overtake_its_validation(self, bench: Bench) -> None:
        """The merge is entered first, the counts follow, and the conservation table has both."""
        await bench.start("s1")
        assert await bench.merge("s1")
        await bench.validate("s1")
        assert await bench.ledger.segment("r1", "s1") == MERGED

    async def test_a_segment_is_merged_once(self, bench: Bench) -> None:
        """The second merge is told so, changes nothing and is not counted."""
        await bench.start("s1")
        assert await bench.merge("s1")
        before = await bench.ledger.segment("r1", "s1")
        assert not await bench.merge("s1", version=2)
        assert await bench.ledger.segment("r1", "s1") == before
        assert (await bench.read()).settled == 1

    async def test_one_of_twenty_merges_counts(self, bench: Bench) -> None:
        """Of twenty concurrent merges of one segment one counts."""
        await bench.start("s1")
        merged = await asyncio.gather(*(bench.merge("s1", version=number) for number in range(1, 21)))
        assert sum(merged) == 1
        entry = await bench.ledger.segment("r1", "s1")
        assert entry is not None
        assert entry.version == merged.index(True) + 1
        assert (await bench.read()).settled == 1

    async def test_concurrent_merges_of_a_run_are_all_counted(self, bench: Bench) -> None:
        """Forty segments merged side by side settle forty."""
        ids = [f"s{number:02}" for number in range(40)]
        await bench.start(*ids)
        assert all(await asyncio.gather(*(bench.merge(segment) for segment in ids)))
        assert (await bench.read()).settled == 40

    async def test_a_merge_sent_twice_is_this_callers(self, bench: Bench) -> None:
        """The SDK repeats a merge whose first try won: it is the caller's, and counted once."""
        await bench.start("s1")
        bench.network.next(Fate.REPEATED)
        assert await bench.faulty.segment_merged("r1", "s1", SETTLEMENT, location=PLACE, version=1)
        assert (await bench.read()).settled == 1

    @pytest.mark.parametrize("fate", CUT)
    async def test_segments_go_on_after_unknown_outcomes(self, bench: Bench, fate: Fate) -> None:
        """Every step can be repeated when its outcome is unknown; the segment is as if each had been taken once."""
        await bench.start()
        ledger = bench.faulty
        for step in (
            lambda: ledger.plan_segments("r1", [("s1", 5)]),
            lambda: ledger.segment_fetched("r1", "s1", 5, RAW),
            lambda: ledger.segment_validated("r1", "s1", COUNTS, PLACE),
            lambda: ledger.segment_merged("r1", "s1", SETTLEMENT, location=PLACE, version=1),
        ):
            bench.network.next(fate)
            with pytest.raises(UnreachableError):
                await step()
            await step()
        assert await bench.ledger.segment("r1", "s1") == replace(MERGED, fetched=5, raw_location=RAW)
        assert (await bench.read()).settled == 1


class TestFakeLedgerSegments(OnTheFake, SegmentConformance):
    """The fake keeps the contract."""


class CrowdedDynamo:
    """A client whose first ``times`` transactions collide with somebody else's on the second item."""

    def __init__(self, client: "DynamoDBClient", times: int) -> None:
        self.collisions = 0
        self._client = client
        self._times = times

    async def transact_write_items(self, **arguments: Any) -> Any:
        """Collide, or do as the client does."""
        if self.collisions < self._times:
            self.collisions += 1
            raise ClientError(
                {
                    "Error": {"Code": "TransactionCanceledException", "Message": "collided"},
                    "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
                },
                "TransactWriteItems",
            )
        return await self._client.transact_write_items(**arguments)


class TestDynamoLedgerSegments(OnDynamo, SegmentConformance):
    """DynamoDB keeps the contract."""

    async def test_a_collision_is_not_a_conflict(self, bench: Bench, stack: Stack, clients: Clients) -> None:
        """Merges of one run collide on its item; that is tried again and counted once, never taken for "merged"."""
        await bench.start("s1")
        crowded = CrowdedDynamo(clients.dynamodb, times=3)
        ledger = DynamoLedger(cast("DynamoDBClient", crowded), stack.resource("ledger"), ManualClock())
        assert await ledger.segment_merged("r1", "s1", SETTLEMENT, location=PLACE, version=1)
        assert crowded.collisions == 3
        assert (await bench.read()).settled == 1
