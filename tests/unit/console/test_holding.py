"""Pausing, resuming and cancelling a chunked run, also when the command dies between any two effects."""

import pytest

from contracts.chunks import ChunkPayload, PlannedChunk
from contracts.runs import RunMode, RunState
from services.console.commands.holding import REASON, Verb, hold
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.ledger import Run, ScanCounts
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.ledger import FakeLedger
from tests.fakes.publishing import FakePublisher

PLAIN = ChunkPayload()


async def opened(*, mode: RunMode = RunMode.CHUNKS, state: RunState | None = None) -> FakeLedger:
    """A ledger with the run ``r`` of two chunks, which is under way or has ended."""
    ledger = FakeLedger()
    at = "2026-01-01T03:00:00+00:00"
    await ledger.open_run(Run(run_id="r", pipeline="report", mode=mode, state=RunState.PLANNING, started_at=at))
    await FakeChunkLedger.of(ledger).plan_chunks("r", [PlannedChunk(chunk_id=c, rows=1, keys=1) for c in "01"])
    await ledger.start_run("r", planned=2, scan=ScanCounts(listed=2, dispatched=2), frontier=None)
    if state is not None:
        await ledger.finish_run("r", state, reason=None if state is RunState.SUCCEEDED else "why")
    return ledger


async def test_a_paused_run_stays_open() -> None:
    """Nobody is told; doing it again changes nothing."""
    ledger, publisher = await opened(), FakePublisher()
    for _ in range(2):
        await hold(ledger, publisher, Verb.PAUSE, "r", PLAIN)
    assert (run := await ledger.run("r")) is not None
    assert (run.state, run.paused) == (RunState.RUNNING, True)
    assert (publisher.facts, publisher.commands("plan-requests")) == ([], [])


async def test_a_cancelled_run_has_ended_and_is_announced() -> None:
    """With the reason; whoever cancels it again announces it again, under the same id."""
    ledger, publisher = await opened(), FakePublisher()
    for _ in range(2):
        await hold(ledger, publisher, Verb.CANCEL, "r", PLAIN)
    assert (run := await ledger.run("r")) is not None
    assert (run.state, run.reason) == (RunState.CANCELLED, REASON)
    facts = publisher.announced()
    assert [(fact.kind, fact.body["reason"]) for fact in facts] == [("RunFailed", REASON)] * 2
    assert len({fact.dedup_id for fact in facts}) == 1


@pytest.mark.parametrize("place", range(1, 5))
async def test_a_cancellation_that_died_is_finished_by_the_next_one(place: int) -> None:
    """Before and after it ends the run, before and after it announces it: in the end both have happened."""
    ledger, publisher = await opened(), FakePublisher()
    dying = Effects(KillSwitch(place))
    with pytest.raises(KilledError):
        await hold(ledger.seen_by(dying), publisher.seen_by(dying), Verb.CANCEL, "r", PLAIN)
    await hold(ledger, publisher, Verb.CANCEL, "r", PLAIN)
    assert (run := await ledger.run("r")) is not None
    assert run.state is RunState.CANCELLED
    assert {fact.dedup_id for fact in publisher.announced()} == {"r/failed"}


@pytest.mark.parametrize("state", [None, RunState.FAILED, RunState.CANCELLED])
async def test_the_planner_is_asked_to_let_a_run_go_on(state: RunState | None) -> None:
    """One that is open, has failed or was cancelled; the command itself changes nothing."""
    ledger, publisher = await opened(state=state), FakePublisher()
    before = await ledger.run("r")
    assert await hold(ledger, publisher, Verb.RESUME, "r", ChunkPayload(target_rows=5)) == before
    assert await ledger.run("r") == before
    [request] = publisher.commands("plan-requests")
    assert (request.body["pipeline"], request.body["run_id"], request.body["resume"]) == ("report", "r", True)
    assert request.body["chunk"]["target_rows"] == 5


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_run_that_has_succeeded_is_left_alone(verb: Verb) -> None:
    """One line says why."""
    ledger, publisher = await opened(state=RunState.SUCCEEDED), FakePublisher()
    with pytest.raises(PermanentError, match=f"^run r has succeeded already: there is nothing to {verb}$"):
        await hold(ledger, publisher, verb, "r", PLAIN)
    assert (publisher.facts, publisher.commands("plan-requests")) == ([], [])


@pytest.mark.parametrize(("verb", "state"), [(Verb.PAUSE, RunState.FAILED), (Verb.PAUSE, RunState.CANCELLED),
                                             (Verb.CANCEL, RunState.FAILED)])  # fmt: skip
async def test_a_run_that_has_ended_can_only_be_resumed(verb: Verb, state: RunState) -> None:
    """The text says how it has ended."""
    ledger = await opened(state=state)
    with pytest.raises(PermanentError, match=f"has {state} already: there is nothing to {verb}"):
        await hold(ledger, FakePublisher(), verb, "r", PLAIN)


@pytest.mark.parametrize("verb", list(Verb))
async def test_other_runs_are_refused(verb: Verb) -> None:
    """A run of a pipeline is wrong usage; one that does not exist is not there."""
    ledger = await opened(mode=RunMode.SCAN)
    with pytest.raises(BadDeclarationError, match="run r is not a chunked run"):
        await hold(ledger, FakePublisher(), verb, "r", PLAIN)
    with pytest.raises(PermanentError, match="there is no run 'x'"):
        await hold(ledger, FakePublisher(), verb, "x", PLAIN)
