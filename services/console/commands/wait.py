"""``tidegate wait``: until a run ends, or until nothing is left to do."""

import asyncio
from typing import Annotated

import typer

from contracts.runs import RunState
from services.console.commands.status import show
from services.console.following import follow_run, wait_idle
from services.console.output import say
from services.console.session import open_session
from services.runtime.failures import BadDeclarationError, PermanentError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def wait(
        run: Annotated[str | None, typer.Argument(help="run to wait for")] = None,
        idle: Annotated[bool, typer.Option("--idle", help="until no work is queued or in flight anywhere")] = False,
        timeout: Annotated[float, typer.Option(help="seconds")] = 900.0,
    ) -> None:
        """Wait for a run, or for everything; exits 1 when a run failed or time is up."""
        if (run is None) == (not idle):
            raise BadDeclarationError("give either a run or --idle")
        asyncio.run(_wait(run, timeout))


async def _wait(run_id: str | None, timeout_s: float) -> None:
    async with open_session() as session:
        if run_id is None:
            await wait_idle(session, timeout_s)
            say("idle")
            return
        followed = await follow_run(session, run_id, timeout_s)
    show(followed)
    if followed.run.state is not RunState.SUCCEEDED:
        raise PermanentError(f"run {run_id} {followed.run.state}: {followed.run.reason}")
