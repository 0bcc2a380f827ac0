"""Tables: keys, expiry, backups."""

from typing import Any

from contracts.topology import Table
from services.console.commands.checks.findings import (
    OK,
    Finding,
    Verdict,
    aspects,
    failed,
    line,
    looked,
    require,
    unchecked,
)
from services.console.commands.checks.world import World
from services.runtime.aws.errors import translated

_SETTLED = {"ENABLED", "ENABLING"}


async def check_tables(world: World) -> list[Finding]:
    """A line for each table, and for its key, its expiry and its backups."""
    found = []
    for table in world.topology.tables:
        answer, lines = await aspects(
            f"table {table.name}",
            _describe(world, table),
            {"key": lambda have, table=table: key(have, table)},  # type: ignore[misc]
        )
        found += lines
        for aspect, look in (("TTL", _expiry(world, table)), ("point-in-time recovery", _backups(world, table))):
            check = f"table {table.name}: {aspect}"
            if answer is None:
                look.close()
                found.append(line(check, unchecked("its table could not be read")))
            else:
                found.append(await looked(check, look))
    return found


async def _describe(world: World, table: Table) -> dict[str, Any]:
    name = world.name(table.name)
    with translated(f"describe table {name}"):
        return dict((await world.clients.dynamodb.describe_table(TableName=name))["Table"])


def key(described: dict[str, Any], table: Table) -> Verdict:
    """Whether items are kept under what the conditions of our writes name."""
    types = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    have = [(each["AttributeName"], types[each["AttributeName"]]) for each in described["KeySchema"]]
    parts = [table.partition_key, *([table.sort_key] if table.sort_key else [])]
    want = [(part.name, part.type) for part in parts]
    return require(have == want, f"its key is {have}, not {want}", "a key cannot be changed: save its items, recreate")


async def _expiry(world: World, table: Table) -> Verdict:
    name = world.name(table.name)
    with translated(f"describe the TTL of table {name}"):
        answer = await world.clients.dynamodb.describe_time_to_live(TableName=name)
    described: Any = answer.get("TimeToLiveDescription", {})
    on = described.get("AttributeName", "?") if described.get("TimeToLiveStatus") in _SETTLED else None
    if on == table.ttl_attribute:
        return OK
    if table.ttl_attribute is None:
        return failed(f"items expire by {on}, and nothing may be forgotten here", "switch the table's TTL off")
    return failed(f"items do not expire by {table.ttl_attribute}", "switch the table's TTL on")


async def _backups(world: World, table: Table) -> Verdict:
    name = world.name(table.name)
    with translated(f"describe the backups of table {name}"):
        answer = await world.clients.dynamodb.describe_continuous_backups(TableName=name)
    described: Any = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if described.get("PointInTimeRecoveryStatus") in _SETTLED:
        return OK
    if not world.is_aws:
        return unchecked("this endpoint is not AWS: nothing is backed up here")
    return failed("it is off: a table that is lost is lost", "switch point-in-time recovery on")
