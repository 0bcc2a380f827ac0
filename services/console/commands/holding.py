"""``tidegate run pause|resume|cancel RUN``: what an operator can do to a chunked run."""

from enum import StrEnum

from contracts.chunks import ChunkPayload
from contracts.runs import PlanRun, RunFailed, RunMode, RunState
from services.console.session import PLAN_QUEUE
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.ledger import Ledger, Run
from services.runtime.publishing import Publisher

REASON = "cancelled by an operator"


class Verb(StrEnum):
    """What can be done to a run."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


DONE = {
    Verb.PAUSE: "is paused: chunks under way are finished, no other is begun; `tidegate run resume {run}` goes on",
    Verb.RESUME: "is asked to go on; follow it with: tidegate wait {run}",
    Verb.CANCEL: "is cancelled: chunks under way are finished, no other is begun",
}
"""What people are told."""


async def hold(ledger: Ledger, publisher: Publisher, verb: Verb, run_id: str, payload: ChunkPayload) -> Run:
    """Pause, resume or cancel a run; the run as it was before. Each may be repeated.

    ``payload`` is of a resumption: it counts where the run ended before it had a plan.

    Raises:
        PermanentError: there is no such run, or it has ended in a way that leaves nothing to do.
        BadDeclarationError: it is not a chunked run.
    """
    run = await ledger.run(run_id)
    if run is None:
        raise PermanentError(f"there is no run {run_id!r}; `tidegate status` lists them")
    if run.mode is not RunMode.CHUNKS:
        raise BadDeclarationError(f"run {run_id} is not a chunked run: it cannot be held; it ends by itself")
    if run.state is RunState.SUCCEEDED:
        raise _over(run, verb)
    if verb is Verb.PAUSE:
        await _pause(ledger, run)
    elif verb is Verb.CANCEL:
        await _cancel(ledger, publisher, run)
    else:
        request = PlanRun(pipeline=run.pipeline, run_id=run_id, chunk=payload, resume=True)
        await publisher.send(PLAN_QUEUE, [request], run_id=run_id)
    return run


async def _pause(ledger: Ledger, run: Run) -> None:
    if not await ledger.pause_run(run.run_id, paused=True):
        raise _over(await _again(ledger, run), Verb.PAUSE)


async def _cancel(ledger: Ledger, publisher: Publisher, run: Run) -> None:
    """End the run, and say so; who was killed in between says it the next time."""
    if not await ledger.finish_run(run.run_id, RunState.CANCELLED, reason=REASON):
        found = await _again(ledger, run)
        if found.state is not RunState.CANCELLED:
            raise _over(found, Verb.CANCEL)
    fact = RunFailed(pipeline=run.pipeline, run_id=run.run_id, reason=REASON)
    await publisher.announce(fact, run_id=run.run_id)


async def _again(ledger: Ledger, run: Run) -> Run:
    return await ledger.run(run.run_id) or run


def _over(run: Run, verb: Verb) -> PermanentError:
    return PermanentError(f"run {run.run_id} has {run.state} already: there is nothing to {verb}")
