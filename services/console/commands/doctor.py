"""``tidegate doctor``: the configuration and the deployed resources against what is declared."""

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from services.console.commands.checks.buckets import check_buckets
from services.console.commands.checks.clock import check_clock
from services.console.commands.checks.declared import check_places, places_of, read_declarations
from services.console.commands.checks.findings import Finding, State
from services.console.commands.checks.functions import check_functions, find_functions
from services.console.commands.checks.queues import check_queues
from services.console.commands.checks.runs import check_runs
from services.console.commands.checks.schedules import check_machines, check_schedules
from services.console.commands.checks.secrets import check_secrets, secrets_of
from services.console.commands.checks.settings import check_settings
from services.console.commands.checks.tables import check_tables
from services.console.commands.checks.topics import check_topics
from services.console.commands.checks.world import World, open_world
from services.console.output import emit_json, emit_table, say


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        problems: Annotated[bool, typer.Option("--problems", help="only what is not ok")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Check the configuration and the deployed resources; exit with 1 if a check failed. Changes nothing."""
        findings = asyncio.run(_examined())
        shown = [each for each in findings if not problems or each.state is not State.OK]
        if as_json:
            emit_json([asdict(each) for each in shown])
        else:
            show(shown)
            say(summary(findings))
        if any(each.state is State.FAILED for each in findings):
            raise typer.Exit(1)


async def _examined() -> list[Finding]:
    async with open_world() as world:
        return await examine(world)


async def examine(world: World) -> list[Finding]:
    """Every check, in the order in which causes come before their effects.

    Raises:
        UnreachableError, AccessDeniedError: the endpoint does not answer, or not to us.
    """
    found = await check_clock(world)
    missing = await find_functions(world)
    environ = {**world.environ, **(world.variables("planner") if "planner" in world.functions else {})}
    declared = read_declarations(world.settings.pipelines, environ)
    found += declared.findings
    found += check_places(places_of(declared.pipelines.values(), world.settings))
    found += await check_settings(world)
    found += await check_secrets(world, secrets_of(declared.pipelines.values(), declared.jobs.values(), environ))
    for check in (check_queues, check_topics, check_buckets, check_tables):
        found += await check(world)
    found += await check_functions(world, missing)
    for check in (check_schedules, check_machines, check_runs):
        found += await check(world)
    return found


def show(findings: list[Finding]) -> None:
    """The table for people."""
    rows = [[each.check, each.state.value, each.advice] for each in findings]
    emit_table("Checks", ["check", "state", "what to do"], rows)


def summary(findings: list[Finding]) -> str:
    """How many checks ended in each way, in one line."""
    counts = Counter(each.state for each in findings)
    return f"{len(findings)} checks: " + ", ".join(f"{counts[state]} {state.value}" for state in State)
