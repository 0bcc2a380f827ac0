"""``tidegate action``: one action of a chunked job, carried out here and now."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from contracts.chunks import ActionName
from services.console.local.environment import with_absolute_paths
from services.console.session import use_embedded_stack
from services.runtime.chunking.jobs import load_jobs
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT, Settings

MODULE = "services.chunk_worker.action"
"""Who carries actions out. A process of its own, because no service imports another."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def action(
        name: Annotated[str, typer.Argument(help=", ".join(ActionName))],
        job: Annotated[str | None, typer.Option(help="chunked job; default: the only one that is declared")] = None,
        payload: Annotated[str, typer.Option(help="JSON: run_id, chunk_id, chunk")] = "{}",
    ) -> None:
        """Carry out an action of a chunked job, as a chunk worker would, and print its result as JSON."""
        if name not in list(ActionName):
            raise BadDeclarationError(f"there is no action {name!r}; there are {', '.join(ActionName)}")
        use_embedded_stack(os.environ)
        command = (sys.executable, "-m", MODULE, name, "--job", job or _only_job(), "--payload", payload)
        done = subprocess.run(  # noqa: S603 - our own module; its arguments are checked there
            command,
            cwd=PROJECT,
            env=with_absolute_paths(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        sys.stdout.write(done.stdout.decode())
        if done.returncode:
            raise typer.Exit(done.returncode)


def _only_job() -> str:
    jobs = load_jobs(Settings.read(os.environ).pipelines, os.environ)
    if len(jobs) != 1:
        known = f"there are {', '.join(jobs)}" if jobs else "there is none"
        raise BadDeclarationError(f"--job: which chunked job is meant? {known}")
    return next(iter(jobs))
