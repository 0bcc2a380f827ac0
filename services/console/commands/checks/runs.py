"""Runs that wait for somebody: blocked, or silent for long."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from contracts.runs import RunMode, RunState
from services.console.commands.checks.findings import OK, Finding, Verdict, line, refusal, warned
from services.console.commands.checks.world import World
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.clock import SystemClock
from services.runtime.failures import TidegateError
from services.runtime.ledger import Run

SILENT_AFTER = timedelta(hours=1)
"""Longer than any message stays hidden, short of those of chunks."""
NEWEST = 50


async def check_runs(world: World) -> list[Finding]:
    """A line for each unfinished run among the newest, or one that says there is none."""
    clock = SystemClock()
    ledger = DynamoLedger(world.clients.dynamodb, world.name("ledger"), clock)
    try:
        runs = [run for run in await ledger.runs(limit=NEWEST) if run.state in {RunState.PLANNING, RunState.RUNNING}]
        lines = [
            line(f"run {run.run_id}", judge(run, await _moments(world, ledger, run), clock.now()))
            for run in runs
            if run.mode is not RunMode.EVENTS and not run.children
        ]
    except TidegateError as error:
        return [line("runs", refusal(error))]
    return lines or [line("runs", OK)]


async def _moments(world: World, ledger: DynamoLedger, run: Run) -> list[str]:
    if run.mode is RunMode.CHUNKS:
        chunks = DynamoChunkLedger(world.clients.dynamodb, world.name("ledger"), SystemClock())
        return [each.updated_at for each in await chunks.chunks(run.run_id)]
    return [each.updated_at for each in await ledger.segments(run.run_id)]


def judge(run: Run, moments: Sequence[str], now: datetime) -> Verdict:
    """Whether an unfinished run waits for a person; ``moments`` are those of its entries, ``now`` is UTC."""
    if run.paused:
        return warned("an operator paused it", f"tidegate run resume {run.run_id}")
    if run.reason is not None:
        return warned(f"it is blocked: {run.reason}", f"tidegate status {run.run_id}")
    last = max([run.started_at, *(moment for moment in moments if moment)])
    silent = now - datetime.fromisoformat(last)
    if silent > SILENT_AFTER:
        hours = silent.total_seconds() / 3600
        return warned(
            f"nothing was entered for it in {hours:.1f} h", f"tidegate status {run.run_id}; tidegate dlq list"
        )
    return OK
