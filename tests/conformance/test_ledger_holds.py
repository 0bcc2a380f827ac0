"""What every Ledger does with runs that operators hold, cancel and let go on, on the fake and on DynamoDB."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from contracts.runs import RunState
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.failures import BadDeclarationError, MissingObjectError, UnreachableError
from services.runtime.ledger import Ledger
from tests.conformance.ledger_bench import CUT, NOW, SCAN, Bench, OnTheFake, run
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork

RUNNING = replace(run(), state=RunState.RUNNING, planned=1, scan=SCAN, frontier="2026")
ENDED = [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]


class HoldConformance:
    """Subclasses provide the ``bench`` fixture."""

    @pytest.mark.parametrize("started", [False, True])
    async def test_a_run_is_held_and_let_go(self, bench: Bench, *, started: bool) -> None:
        """Only the hold changes, and either way may be repeated."""
        await bench.ledger.open_run(run())
        if started:
            await bench.ledger.start_run("r1", planned=1, scan=SCAN, frontier="2026")
        before = await bench.read()
        for paused, resumed_at in ((True, None), (True, None), (False, NOW), (False, NOW)):
            assert await bench.ledger.pause_run("r1", paused=paused)
            assert await bench.read() == replace(before, paused=paused, resumed_at=resumed_at)
        assert await bench.ledger.runs() == [replace(before, resumed_at=NOW)]

    async def test_a_run_that_is_held_starts_and_settles(self, bench: Bench) -> None:
        """What is under way comes to its end; the hold stays."""
        await bench.ledger.open_run(run())
        await bench.ledger.pause_run("r1", paused=True)
        await bench.start("s1")
        await bench.merge("s1")
        assert await bench.read() == replace(RUNNING, paused=True, settled=1)

    @pytest.mark.parametrize("state", ENDED)
    async def test_an_ended_run_cannot_be_held(self, bench: Bench, state: RunState) -> None:
        """Whoever tries is told so, and nothing changes."""
        await bench.start("s1")
        await bench.ledger.finish_run("r1", state)
        before = await bench.read()
        assert not await bench.ledger.pause_run("r1", paused=True)
        assert await bench.read() == before

    async def test_a_run_is_cancelled_once(self, bench: Bench) -> None:
        """A cancelled run has ended: no success and no failure comes after it."""
        await bench.start("s1")
        await bench.ledger.pause_run("r1", paused=True)
        assert await bench.ledger.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
        cancelled = await bench.read()
        assert cancelled == replace(
            RUNNING, state=RunState.CANCELLED, paused=True, reason="cancelled by an operator", finished_at=NOW
        )
        for state in ENDED:
            assert not await bench.ledger.finish_run("r1", state, reason="later")
        assert await bench.read() == cancelled

    @pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
    async def test_an_ended_run_goes_on(self, bench: Bench, state: RunState) -> None:
        """It runs again with its plan and what it has settled, without hold, reason and end, and can end once more."""
        await bench.start("s1", "s2")
        await bench.merge("s1")
        await bench.ledger.pause_run("r1", paused=True)
        await bench.ledger.finish_run("r1", state, reason="why")
        assert await bench.ledger.reopen_run("r1")
        assert await bench.read() == replace(RUNNING, planned=2, settled=1, resumed_at=NOW)
        assert not await bench.ledger.reopen_run("r1")
        assert await bench.ledger.finish_run("r1", RunState.SUCCEEDED)
        assert (await bench.read()).state is RunState.SUCCEEDED

    async def test_a_run_without_a_plan_is_planned_again(self, bench: Bench) -> None:
        """A run that ended while it was planned can be started once it is open again."""
        await bench.ledger.open_run(run())
        await bench.ledger.finish_run("r1", RunState.FAILED, reason="no such table")
        assert await bench.ledger.reopen_run("r1")
        assert await bench.read() == replace(run(), resumed_at=NOW)
        await bench.ledger.start_run("r1", planned=1, scan=SCAN, frontier="2026")
        assert await bench.read() == replace(RUNNING, resumed_at=NOW)

    @pytest.mark.parametrize("state", [None, RunState.SUCCEEDED])
    async def test_only_what_ended_badly_goes_on(self, bench: Bench, state: RunState | None) -> None:
        """A run that is under way or has succeeded is left alone."""
        await bench.start("s1")
        if state is not None:
            await bench.ledger.finish_run("r1", state)
        before = await bench.read()
        assert not await bench.ledger.reopen_run("r1")
        assert await bench.read() == before

    async def test_one_of_twenty_reopens_a_run(self, bench: Bench) -> None:
        """Of twenty concurrent reopenings one is told that it was the one."""
        await bench.start("s1")
        await bench.ledger.finish_run("r1", RunState.FAILED)
        assert sum(await asyncio.gather(*(bench.ledger.reopen_run("r1") for _ in range(20)))) == 1

    async def test_one_id_is_taken(self, bench: Bench) -> None:
        """Whoever names a run like the list of all runs is told so, and the list stays whole."""
        await bench.ledger.open_run(run())
        with pytest.raises(BadDeclarationError, match="no run may be called 'runs'"):
            await bench.ledger.open_run(run("runs"))
        assert await bench.ledger.runs() == [run()]

    async def test_a_run_that_was_never_opened_is_missing(self, bench: Bench) -> None:
        """Nothing is held or let go on where there is no run."""
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.ledger.pause_run("r1", paused=True)
        with pytest.raises(MissingObjectError, match="r1"):
            await bench.ledger.reopen_run("r1")
        assert await bench.ledger.run("r1") is None

    async def test_a_step_sent_twice_is_this_callers(self, bench: Bench) -> None:
        """The SDK repeats a write whose first try won: the caller did it."""
        await bench.start("s1")
        for step in _steps(bench.faulty):
            bench.network.next(Fate.REPEATED)
            assert await step()
        assert await bench.read() == replace(RUNNING, resumed_at=NOW)

    @pytest.mark.parametrize("fate", CUT)
    async def test_runs_go_on_after_unknown_outcomes(self, bench: Bench, fate: Fate) -> None:
        """Every step can be repeated when its outcome is unknown; the run is as if each had been taken once."""
        await bench.start("s1")
        for step in _steps(bench.faulty):
            bench.network.next(fate)
            with pytest.raises(UnreachableError):
                await step()
            await step()
        assert await bench.read() == replace(RUNNING, resumed_at=NOW)


def _steps(ledger: Ledger) -> list[Callable[[], Awaitable[bool]]]:
    return [
        lambda: ledger.pause_run("r1", paused=True),
        lambda: ledger.finish_run("r1", RunState.CANCELLED),
        lambda: ledger.reopen_run("r1"),
    ]


class TestFakeLedgerHolds(OnTheFake, HoldConformance):
    """The fake keeps the contract."""


class TestDynamoLedgerHolds(HoldConformance):
    """DynamoDB keeps the contract."""

    @pytest.fixture
    async def bench(self, empty_stack: Stack) -> AsyncIterator[Bench]:
        """A table of the test's own."""
        network, clock = ScriptedNetwork(), ManualClock()
        async with only_table(empty_stack, "ledger") as (clients, table):
            networked = NetworkedClient(clients.dynamodb, network).as_dynamodb()
            yield Bench(DynamoLedger(clients.dynamodb, table, clock), DynamoLedger(networked, table, clock), network)
