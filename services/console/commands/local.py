"""``tidegate local``: the embedded stack."""

import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.console.local import stack
from services.console.local.environment import pointed_at
from services.console.local.recovery import dispatch_recovery
from services.console.local.stack import Up
from services.console.local.state import DEFAULT_DATA_DIR, DataDir, exports
from services.console.local.status import StackStatus, status
from services.runtime.aws.clients import Clients
from services.runtime.declarations import load_pipelines
from services.runtime.settings import Settings

app = typer.Typer(
    name="local",
    help="Run the AWS emulator and the services on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_err = Console(stderr=True, highlight=False)

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Where the stack keeps everything.")]


def _say(line: str) -> None:
    _err.print(line, markup=False, soft_wrap=True)


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is ready and leave it running.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The emulator's port; 0 is any.")] = None,
    data: Data = DEFAULT_DATA_DIR,
) -> None:
    """Start the stack; without --detach stay in front and stop everything on Ctrl-C."""
    home = DataDir(data)
    settings = Settings.read(os.environ)

    def ready(result: Up) -> None:
        if result.recovered:
            _recover(home, result, settings)
        _report(home, result, in_front=result.started and not detach)

    stack.up(home, stack=settings.stack, port=port, detach=detach, progress=_say, on_ready=ready)


@app.command()
def down(*, data: Data = DEFAULT_DATA_DIR) -> None:
    """Stop the stack; everything is kept for the next start."""
    _say("stopped" if stack.down(DataDir(data), _say) else "nothing was running")


@app.command(name="status")
def show_status(
    *,
    data: Data = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on standard output.")] = False,
) -> None:
    """Show each process with its state, memory and uptime; exit with 1 unless the stack runs."""
    now = status(DataDir(data))
    if as_json:
        typer.echo(json.dumps(now.as_json(), indent=2))
    else:
        endpoint = f" at {now.endpoint}" if now.state == "running" else ""
        typer.echo(f"{now.state}{endpoint}, data in {now.data_dir}")
        if now.state == "running":
            for what, where in _samples(now):
                typer.echo(f"  {what}: {where}")
        if now.failure:
            typer.echo(f"it stopped by itself: {now.failure}")
        if now.processes:
            Console(highlight=False).print(_table(now))
    if now.state != "running":
        raise typer.Exit(1)


@app.command()
def reset(
    *,
    data: Data = DEFAULT_DATA_DIR,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and remove all its data."""
    home = DataDir(data)
    if not yes:
        typer.confirm(f"Remove {home.path} with all objects, tables and logs?", abort=True, err=True)
    _say(f"removed {home.path}" if stack.reset(home, _say) else "there was nothing to remove")


@app.command()
def env(*, data: Data = DEFAULT_DATA_DIR) -> None:
    """Print the exports that point any AWS client at the stack: eval "$(tidegate local env)"."""
    values = exports(stack.running_state(DataDir(data)))
    typer.echo("unset AWS_PROFILE AWS_SESSION_TOKEN")
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _recover(home: DataDir, result: Up, settings: Settings) -> None:
    async def dispatch() -> list[str]:
        async with Clients() as clients:
            return await dispatch_recovery(clients, result.state.stack, _sources(settings))

    with pointed_at(exports(result.state)):
        runs = asyncio.run(dispatch())
    home.acknowledge_recovery()
    _say(f"the last stack was killed: every source is scanned again ({', '.join(runs)})")


def _sources(settings: Settings) -> list[str]:
    """Pipelines and groups, each by its name: what one run brings up to date."""
    found = load_pipelines(settings.pipelines, os.environ)
    return list(dict.fromkeys(pipeline.group or name for name, pipeline in found.items()))


def _samples(now: StackStatus) -> list[tuple[str, str]]:
    named = [
        ("sample open-data portal", now.socrata),
        ("sample shop's database", now.database),
        ("conflict report's database", now.home_care),
        ("sample shop's API", now.payments_api),
    ]
    return [(what, where) for what, where in named if where is not None]


def _report(home: DataDir, result: Up, *, in_front: bool) -> None:
    option = "" if home.path == DEFAULT_DATA_DIR else f" --data {shlex.quote(str(home.path))}"
    _say(f"{'ready' if result.started else 'already running'} at {result.state.endpoint}, data in {home.path}")
    _say(f'  eval "$(tidegate local env{option})"   points AWS clients and tidegate at it')
    _say("  Ctrl-C stops it" if in_front else f"  tidegate local down{option}   stops it")


def _table(now: StackStatus) -> Table:
    table = Table("process", "pid", "state", "memory", "uptime", "restarts", "log", box=None)
    for p in now.processes:
        memory, uptime = f"{p.memory_bytes / 1e6:.0f} MB", f"{p.uptime_s:.0f} s"
        log = Path(p.log).relative_to(now.data_dir)
        table.add_row(p.name, str(p.pid), p.state, memory, uptime, str(p.restarts), str(log))
    return table
