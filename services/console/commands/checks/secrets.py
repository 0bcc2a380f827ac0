"""Secrets that declarations and settings name: whether they can be read. Their values are never kept or shown."""

from collections.abc import Iterable, Mapping

from contracts.pipelines import Pipeline
from contracts.sources import PostgresSource, RestSource, SnowflakeSource
from services.console.commands.checks.findings import OK, Finding, Verdict, failed, looked, require, warned
from services.console.commands.checks.world import World
from services.runtime.aws.errors import translated
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.declarations import unset_variable
from services.runtime.failures import MissingObjectError
from services.runtime.socrata.tokens import BY_REFERENCE

TOKEN = "SOCRATA_APP_TOKEN"  # noqa: S105 - the name of a variable


def secrets_of(
    pipelines: Iterable[Pipeline], jobs: Iterable[LoadedJob], environ: Mapping[str, str]
) -> dict[str, list[str]]:
    """Who needs each secret, by its reference. What a job may use instead of its own database has a question mark."""
    needed: dict[str, list[str]] = {}
    for pipeline in pipelines:
        source = pipeline.source
        if isinstance(source, PostgresSource | SnowflakeSource | RestSource) and source.secret is not None:
            needed.setdefault(source.secret, []).append(pipeline.name)
    for each in jobs:
        needed.setdefault(each.job.database.secret, []).append(each.name)
        if each.job.analytics is not None:
            copies = any(hasattr(step, "into") for step in each.job.sql.prepare)
            needed.setdefault(each.job.analytics.secret, []).append(each.name if copies else f"{each.name}?")
    if environ.get(TOKEN, "").startswith(BY_REFERENCE):
        needed.setdefault(environ[TOKEN].removeprefix(BY_REFERENCE), []).append(TOKEN)
    return needed


async def check_secrets(world: World, needed: Mapping[str, list[str]]) -> list[Finding]:
    """A line for each secret."""
    found = []
    for reference, users in needed.items():
        found.append(await looked(f"secret {reference}", _readable(world, reference, users)))
    return found


async def _readable(world: World, reference: str, users: list[str]) -> Verdict:
    whom = ", ".join(user.rstrip("?") for user in users)
    if (variable := unset_variable(reference)) is not None:
        return warned(f"{variable} is not set, and {whom} takes the secret's name from it", f"set {variable}")
    try:
        with translated(f"read secret {reference}"):
            answer = await world.clients.secretsmanager.get_secret_value(SecretId=reference)
    except MissingObjectError as error:
        if all(user.endswith("?") for user in users):
            return OK._replace(found="it is not there, and no statement of its job needs it")
        return failed(str(error), f"create it: {whom} cannot connect without it")
    full = bool(answer.get("SecretString") or answer.get("SecretBinary"))
    return require(full, "it is empty", f"put a value: {whom} cannot connect without it")
