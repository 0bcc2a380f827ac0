"""What every ChunkLedger does, held against the fake and against DynamoDB."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from contracts.chunks import WHOLE, ChunkOutcome, PlannedChunk
from contracts.runs import RunMode, RunState
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.chunking.ports import ChunkEntry, ChunkLedger, ChunkState
from services.runtime.failures import MissingObjectError, UnreachableError
from services.runtime.ledger import Ledger, Run
from tests.conformance.ledger_bench import CUT, NOW, SCAN, run
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork


def planned(*chunk_ids: str) -> list[PlannedChunk]:
    """Chunks of a hundred rows and seven keys each."""
    return [PlannedChunk(chunk_id=each, rows=100, keys=7, sha256="0" * 64) for each in chunk_ids]


def outcome(chunk_id: str = "0", rows: int = 98) -> ChunkOutcome:
    """A chunk that was done in parts, in a time that is no binary fraction."""
    return ChunkOutcome(chunk_id=chunk_id, run_id="r1", rows=rows, rows_marked=100, seconds=0.1, parts=2)


PLANNED = ChunkEntry("r1", "0", ChunkState.PLANNED, 100, keys=7, updated_at=NOW)
STARTED = replace(PLANNED, worker="w1", started_at=NOW)
DONE = replace(PLANNED, state=ChunkState.DONE, updated=98, gone=2, marked=100, seconds=0.1, parts=2)
FAILED = replace(PLANNED, state=ChunkState.FAILED, reason="0.2: division by zero")


@dataclass(frozen=True)
class Bench:
    """The chunks and the runs of one table, and the chunks over a bad network. The time is always ``NOW``."""

    chunks: ChunkLedger
    faulty: ChunkLedger
    runs: Ledger
    network: ScriptedNetwork

    async def start(self, *chunk_ids: str) -> None:
        """Open run r1, enter these chunks and start it."""
        await self.runs.open_run(run(mode=RunMode.CHUNKS))
        await self.chunks.plan_chunks("r1", planned(*chunk_ids))
        await self.runs.start_run("r1", planned=len(chunk_ids), scan=SCAN, frontier=None)

    async def done(self, chunk_id: str = "0", rows: int = 98) -> bool:
        """Enter the end of a chunk."""
        return await self.chunks.chunk_done("r1", chunk_id, outcome(chunk_id, rows), gone=2)

    async def failed(self, chunk_id: str = "0") -> bool:
        """Enter the failure of a chunk."""
        return await self.chunks.chunk_failed("r1", chunk_id, "0.2: division by zero")

    async def run(self) -> Run:
        """The run, which must exist."""
        found = await self.runs.run("r1")
        assert found is not None
        return found

    async def counts(self) -> tuple[int, int]:
        """Chunks of the run that are settled, and that failed."""
        found = await self.run()
        return found.settled, found.failed


class ChunkLedgerConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_what_was_never_entered_is_not_there(self, bench: Bench) -> None:
        """An unknown chunk is None, and an unknown run has no chunks."""
        assert await bench.chunks.chunk("r1", "0") is None
        assert await bench.chunks.chunks("r1") == []

    async def test_a_chunk_goes_from_state_to_state(self, bench: Bench) -> None:
        """Planned, started, done: each step adds what it knows, and the run counts the chunk."""
        await bench.start("0", "1")
        assert await bench.chunks.chunk("r1", "0") == PLANNED
        await bench.chunks.chunk_started("r1", "0", "w1")
        assert await bench.chunks.chunk("r1", "0") == STARTED
        assert await bench.done()
        assert await bench.chunks.chunk("r1", "0") == replace(DONE, worker="w1", started_at=NOW)
        assert await bench.counts() == (1, 0)

    async def test_a_failed_chunk_says_why_and_may_go_on(self, bench: Bench) -> None:
        """Failed, open again, done: the run counts what the chunk is, and the reason goes with the failure."""
        await bench.start("0", "1")
        assert await bench.failed()
        assert await bench.chunks.chunk("r1", "0") == FAILED
        assert await bench.counts() == (0, 1)
        assert await bench.chunks.reopen_chunk("r1", "0")
        assert await bench.chunks.chunk("r1", "0") == PLANNED
        assert await bench.counts() == (0, 0)
        assert await bench.done()
        assert await bench.chunks.chunk("r1", "0") == DONE
        assert await bench.counts() == (1, 0)

    async def test_a_chunk_that_failed_may_turn_out_to_be_done(self, bench: Bench) -> None:
        """The database decides: a failed chunk that it holds for done is done, and failed no more."""
        await bench.start("0")
        await bench.failed()
        assert await bench.done()
        assert await bench.chunks.chunk("r1", "0") == DONE
        assert await bench.counts() == (1, 0)

    async def test_each_step_is_taken_once(self, bench: Bench) -> None:
        """Whoever repeats a step is told so, changes nothing and is not counted."""
        await bench.start("0", "1")
        assert await bench.failed()
        assert not await bench.failed()
        assert await bench.counts() == (0, 1)
        assert await bench.chunks.reopen_chunk("r1", "0")
        assert not await bench.chunks.reopen_chunk("r1", "0")
        assert await bench.counts() == (0, 0)
        assert await bench.done()
        assert not await bench.done(rows=1)
        assert await bench.chunks.chunk("r1", "0") == DONE
        assert await bench.counts() == (1, 0)

    async def test_a_chunk_that_is_done_stays_done(self, bench: Bench) -> None:
        """Late starts, failures and reopenings change nothing of it."""
        await bench.start("0")
        await bench.done()
        await bench.chunks.chunk_started("r1", "0", "late")
        assert not await bench.failed()
        assert not await bench.chunks.reopen_chunk("r1", "0")
        assert await bench.chunks.chunk("r1", "0") == DONE
        assert await bench.counts() == (1, 0)

    async def test_a_later_worker_replaces_an_earlier_one(self, bench: Bench) -> None:
        """Who took a chunk last is who works on it, and a failure does not forget them."""
        await bench.start("0")
        await bench.chunks.chunk_started("r1", "0", "dead")
        await bench.chunks.chunk_started("r1", "0", "w1")
        await bench.failed()
        assert await bench.chunks.chunk("r1", "0") == replace(FAILED, worker="w1", started_at=NOW)

    async def test_planning_again_overwrites_nothing(self, bench: Bench) -> None:
        """A plan that is entered again adds what is missing and leaves what went further."""
        await bench.start("0", "1")
        await bench.done()
        await bench.failed("1")
        await bench.chunks.plan_chunks("r1", planned("0", "1", "2"))
        entries = await bench.chunks.chunks("r1")
        assert [entry.state for entry in entries] == [ChunkState.DONE, ChunkState.FAILED, ChunkState.PLANNED]

    async def test_chunks_are_in_the_order_of_their_numbers(self, bench: Bench) -> None:
        """Two planners at once enter 300 chunks; they are listed by number, only those of the run, and no segments."""
        await bench.runs.open_run(run(mode=RunMode.CHUNKS))
        ids = [str(number) for number in range(300)]
        await asyncio.gather(*(bench.chunks.plan_chunks("r1", planned(*reversed(ids))) for _ in range(2)))
        await bench.chunks.plan_chunks("r2", planned(WHOLE))
        await bench.runs.plan_segments("r1", [("s1", 1)])
        assert [entry.chunk_id for entry in await bench.chunks.chunks("r1")] == ids
        assert [entry.chunk_id for entry in await bench.chunks.chunks("r2")] == [WHOLE]
        assert [entry.segment_id for entry in await bench.runs.segments("r1")] == ["s1"]

    async def test_no_time_at_all_is_a_time(self, bench: Bench) -> None:
        """A chunk without rows is done with zeros, not with unknowns."""
        await bench.start("0")
        await bench.chunks.chunk_done("r1", "0", ChunkOutcome(chunk_id="0", run_id="r1", rows=0))
        assert await bench.chunks.chunk("r1", "0") == replace(PLANNED, state=ChunkState.DONE, updated=0)

    async def test_one_of_twenty_ends_counts(self, bench: Bench) -> None:
        """Of twenty concurrent ends of one chunk one counts, and it is the one that is entered."""
        await bench.start("0")
        ended = await asyncio.gather(*(bench.done(rows=rows) for rows in range(20)))
        (winner,) = [rows for rows, won in enumerate(ended) if won]
        entry = await bench.chunks.chunk("r1", "0")
        assert entry is not None
        assert entry.updated == winner
        assert await bench.counts() == (1, 0)

    async def test_the_counts_follow_whoever_wins(self, bench: Bench) -> None:
        """Ends, failures and reopenings of one chunk race: the run counts what the chunk has become."""
        await bench.start("0")
        steps: list[Callable[[], Awaitable[bool]]] = [
            bench.failed,
            lambda: bench.chunks.reopen_chunk("r1", "0"),
            bench.done,
        ]
        await asyncio.gather(*(step() for _ in range(4) for step in steps))
        entry = await bench.chunks.chunk("r1", "0")
        assert entry is not None
        assert entry.state is ChunkState.DONE
        assert await bench.counts() == (1, 0)

    async def test_chunks_that_end_side_by_side_are_all_counted(self, bench: Bench) -> None:
        """Twenty chunks are done and twenty fail at the same time: forty are counted."""
        ids = [str(number) for number in range(40)]
        await bench.start(*ids)
        ends = [bench.done(each) if int(each) % 2 else bench.failed(each) for each in ids]
        assert all(await asyncio.gather(*ends))
        assert await bench.counts() == (20, 20)

    async def test_a_block_lasts_until_a_chunk_ends(self, bench: Bench) -> None:
        """Why nothing moves is shown until something moves."""
        await bench.start("0", "1")
        await bench.runs.block_run("r1", "a replica is 90 s behind")
        await bench.chunks.chunk_started("r1", "0", "w1")
        assert (await bench.run()).reason == "a replica is 90 s behind"
        await bench.done()
        assert (await bench.run()).reason is None

    async def test_a_run_that_has_ended_still_counts(self, bench: Bench) -> None:
        """A chunk that was under way when its run was cancelled is done all the same; the run stays cancelled."""
        await bench.start("0", "1")
        await bench.runs.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
        assert await bench.done()
        found = await bench.run()
        assert (found.state, found.reason, found.settled) == (RunState.CANCELLED, "cancelled by an operator", 1)

    @pytest.mark.parametrize("opened", [False, True])
    async def test_what_was_never_entered_cannot_end(self, bench: Bench, *, opened: bool) -> None:
        """Steps of an unknown chunk, or of an unknown run's, are refused by name and leave nothing behind."""
        if opened:
            await bench.start()
        for step in (
            lambda: bench.chunks.chunk_started("r1", "0", "w1"),
            bench.done,
            bench.failed,
            lambda: bench.chunks.reopen_chunk("r1", "0"),
        ):
            with pytest.raises(MissingObjectError, match="chunk 0 of run r1" if opened else "run r1 is not"):
                await step()
        assert await bench.chunks.chunks("r1") == []
        assert (await bench.runs.run("r1") is not None) is opened

    async def test_chunks_of_a_run_that_was_never_opened_cannot_end(self, bench: Bench) -> None:
        """Chunks that were entered without a run stay as they are."""
        await bench.chunks.plan_chunks("r1", planned("0"))
        with pytest.raises(MissingObjectError, match="run r1"):
            await bench.done()
        assert await bench.chunks.chunk("r1", "0") == PLANNED
        assert await bench.runs.run("r1") is None

    async def test_a_step_sent_twice_is_this_callers(self, bench: Bench) -> None:
        """The SDK repeats a step whose first try won: it is the caller's, and counted once."""
        await bench.start("0", "1")
        for step in _moves(bench.faulty):
            bench.network.next(Fate.REPEATED)
            assert await step()
        assert await bench.counts() == (1, 0)

    @pytest.mark.parametrize("fate", CUT)
    async def test_chunks_go_on_after_unknown_outcomes(self, bench: Bench, fate: Fate) -> None:
        """Every step can be repeated when its outcome is unknown; the chunk is as if each had been taken once."""
        await bench.start()
        steps: Sequence[Callable[[], Awaitable[object]]] = [
            lambda: bench.faulty.plan_chunks("r1", planned("0")),
            lambda: bench.faulty.chunk_started("r1", "0", "w1"),
            *_moves(bench.faulty),
        ]
        for step in steps:
            bench.network.next(fate)
            with pytest.raises(UnreachableError):
                await step()
            await step()
        assert await bench.chunks.chunk("r1", "0") == replace(DONE, worker="w1", started_at=NOW)
        assert await bench.counts() == (1, 0)


def _moves(chunks: ChunkLedger) -> list[Callable[[], Awaitable[bool]]]:
    return [
        lambda: chunks.chunk_failed("r1", "0", "why"),
        lambda: chunks.reopen_chunk("r1", "0"),
        lambda: chunks.chunk_done("r1", "0", outcome(), gone=2),
    ]


class TestFakeChunkLedger(ChunkLedgerConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """One table, reached in two ways."""
        runs, network = FakeLedger(ManualClock()), ScriptedNetwork()
        chunks = FakeChunkLedger.of(runs)
        return Bench(chunks, chunks.seen_by(Effects(network=network)), runs, network)


class TestDynamoChunkLedger(ChunkLedgerConformance):
    """DynamoDB keeps the contract."""

    @pytest.fixture
    async def bench(self, empty_stack: Stack) -> AsyncIterator[Bench]:
        """A table of the test's own."""
        network, clock = ScriptedNetwork(), ManualClock()
        async with only_table(empty_stack, "ledger") as (clients, table):
            networked = NetworkedClient(clients.dynamodb, network).as_dynamodb()
            yield Bench(
                DynamoChunkLedger(clients.dynamodb, table, clock),
                DynamoChunkLedger(networked, table, clock),
                DynamoLedger(clients.dynamodb, table, clock),
                network,
            )
