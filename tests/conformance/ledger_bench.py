"""What the conformance suites of the ledger share: its two implementations and the steps that lead somewhere."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.ledger import Ledger, Run, ScanCounts
from tests.emulator_support import Stack
from tests.fakes.clock import EPOCH, ManualClock
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

NOW = EPOCH.isoformat()
COUNTS = SegmentCounts(received=5, rows=3, quarantined=1, duplicates=1)
SETTLEMENT = Settlement(merged=3, quarantined=1)
SCAN = ScanCounts(listed=10, dispatched=7, ignored=2, settled=1)
PLACE = "validated/segments/s1.parquet"
CUT = [Fate.REQUEST_LOST, Fate.ANSWER_LOST]


def run(run_id: str = "r1", *, second: int = 0, mode: RunMode = RunMode.SCAN) -> Run:
    """A run as its planner opens it; an events run consists of whatever arrives and is running at once."""
    return Run(
        run_id=run_id,
        pipeline="visits",
        mode=mode,
        state=RunState.RUNNING if mode is RunMode.EVENTS else RunState.PLANNING,
        started_at=f"2026-01-01T00:{second // 60:02}:{second % 60:02}+00:00",
        destination="bucket/events.parquet",
    )


@dataclass(frozen=True)
class Bench:
    """A port, and the same port over a bad network. The time is always ``NOW``."""

    ledger: Ledger
    faulty: Ledger
    network: ScriptedNetwork

    async def start(self, *segments: str) -> None:
        """Open run r1, plan these segments with five occurrences each, and start it."""
        await self.ledger.open_run(run())
        await self.ledger.plan_segments("r1", [(segment, 5) for segment in segments])
        await self.ledger.start_run("r1", planned=len(segments), scan=SCAN, frontier="2026")

    async def validate(self, segment_id: str, counts: SegmentCounts = COUNTS) -> None:
        """Enter a validation."""
        await self.ledger.segment_validated("r1", segment_id, counts, PLACE)

    async def merge(self, segment_id: str, *, version: int | None = 1) -> bool:
        """Enter a merge."""
        return await self.ledger.segment_merged("r1", segment_id, SETTLEMENT, location=PLACE, version=version)

    async def read(self, run_id: str = "r1") -> Run:
        """A run that must exist."""
        found = await self.ledger.run(run_id)
        assert found is not None
        return found


class OnTheFake:
    """Runs a suite on the fake."""

    @pytest.fixture
    def bench(self) -> Bench:
        """One ledger, reached in two ways."""
        ledger, network = FakeLedger(ManualClock()), ScriptedNetwork()
        return Bench(ledger, ledger.seen_by(Effects(network=network)), network)


class OnDynamo:
    """Runs a suite on DynamoDB through the emulator."""

    @pytest.fixture
    def bench(self, stack: Stack, clients: Clients) -> Bench:
        """The stack's own table."""
        network, table, clock = ScriptedNetwork(), stack.resource("ledger"), ManualClock()
        networked = cast("DynamoDBClient", NetworkedClient(clients.dynamodb, network))
        return Bench(DynamoLedger(clients.dynamodb, table, clock), DynamoLedger(networked, table, clock), network)
