import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeAlias, TypeVar

import asyncpg
import pytest

from services.console.demo.home_care import HomeCare, fill
from tests.integration.conflict_report.oracle import recompute
from tests.integration.conflict_report.report_support import (
    FIRST_DAY,
    Chunk,
    computed,
    count,
    digest,
    mark,
    plan_chunks,
    sql,
    status,
    take_snapshot,
    update,
)

Connection: TypeAlias = "asyncpg.Connection[Any]"

T = TypeVar("T")

ROWS, SKEWED = 50_000, 5_000
SPOIL = """
UPDATE conflictvisitmaps
SET "ConVisitID" = 'old', "DistanceFlag" = 'old', "StatusFlag" = 'old', "DistanceMilesFromLatLng" = -1,
    "UpdateFlag" = 1, "UpdatedDate" = NULL
"""


def sample(values: Sequence[T], seed: int) -> list[T]:
    """All of them, in an order that follows from the seed."""
    random = Random(seed)  # noqa: S311 - an order, no secret
    return random.sample(values, len(values))


async def generate(connection: Connection, rows: int, skewed: int) -> None:
    await fill(connection, HomeCare(visits=rows, first_day=FIRST_DAY, skewed=skewed))
    await take_snapshot(connection, "run")


def test_the_statements_differ_only_in_where_their_rows_come_from() -> None:
    """What a chunk computes is, letter for letter, what the one statement computes."""
    _, _, whole = sql("task_02").partition("UPDATE conflictvisitmaps")
    _, _, chunk = sql("task_02_chunk").partition("UPDATE conflictvisitmaps")
    assert (
        chunk.replace('keys JOIN conflictvisitmaps_temp AS v1 USING ("KeyPlace")', "conflictvisitmaps_temp AS v1")
        == whole
    )


async def test_generated_visits_get_what_the_rules_say(connection: Connection) -> None:
    """Generated rows, most rules among them and one large key, get what looking at every pair gives."""
    await generate(connection, 1_500, 400)
    await connection.execute(sql("task_02"))
    seen = await computed(connection)
    assert seen == recompute(await connection.fetch("SELECT * FROM conflictvisitmaps"))
    flags = {name for row in seen.values() for name, value in row.items() if name.endswith("Flag") and value == "Y"}
    assert len(flags) == 7


@pytest.mark.parametrize(("target", "seed"), [(10_000, 1), (3_700, 2)])
async def test_chunks_in_any_order_and_repeated_make_what_one_statement_makes(
    connection: Connection, target: int, seed: int
) -> None:
    """However the keys are divided, in whatever order and however often chunks run: the same rows, and all of them."""
    await generate(connection, ROWS, SKEWED)
    chunks = await plan_chunks(connection, "run", target=target)
    assert sum(chunk.rows for chunk in chunks) == ROWS
    assert any(ssn is None for chunk in chunks for _, ssn in chunk.keys)
    order = sample([*chunks, *chunks[::3]], seed)
    for chunk in order:
        assert count(await connection.execute(sql("task_02_chunk"), *chunk.arrays)) == chunk.rows
    chunked = await digest(connection)

    await connection.execute(SPOIL)
    assert await digest(connection) != chunked
    await connection.execute(sql("task_02"))
    assert await digest(connection) == chunked
    assert chunked[0] == ROWS


async def test_a_chunk_touches_its_own_keys_only(connection: Connection) -> None:
    """Dates and SSNs that also occur in other keys, and dates without SSN, do not drag other rows in."""
    await generate(connection, 6_000, 300)
    keys = [(row["VisitDate"], row["SSN"]) for row in await connection.fetch(sql("distribution"))]
    mine = [key for key in keys if key[1] in {None, ""}] + sample(keys, 1)[:100]
    chunk = Chunk("run", "some", sorted(set(mine), key=str), 0)
    rows = await connection.fetch('SELECT "ID", "VisitDate", "SSN" FROM conflictvisitmaps')
    expected = {row["ID"] for row in rows if (row["VisitDate"], row["SSN"]) in set(chunk.keys)}
    assert await mark(connection, chunk, 1) == len(expected)
    assert await update(connection, chunk, 1) == len(expected)
    touched = await connection.fetch('SELECT "ID" FROM conflictvisitmaps WHERE "UpdatedDate" IS NOT NULL')
    assert {row["ID"] for row in touched} == expected
    assert (await status(connection))["completed"] == len(expected)


async def test_no_plan_goes_through_a_table_once_a_row(connection: Connection) -> None:
    """Whatever is done row by row finds its rows by an index: for all, for a chunk of many keys, for one large key."""
    await generate(connection, ROWS, SKEWED)
    chunks = await plan_chunks(connection, "run", target=SKEWED - 1)
    large = next(chunk for chunk in chunks if chunk.rows >= SKEWED)
    for name, arguments in (("task_02", ()), ("task_02_chunk", chunks[1].arrays), ("task_02_chunk", large.arrays)):
        (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql(name)}", *arguments))
        loops = list(_inner_sides(plan["Plan"]))
        assert loops
        for scan in loops:
            if scan.get("Relation Name") in {"conflictvisitmaps", "conflictvisitmaps_temp"}:
                assert scan["Node Type"] in {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}, (name, scan)
                assert "Index Cond" in scan or "Recheck Cond" in scan, (name, scan)


def _inner_sides(plan: dict[str, Any], *, inside: bool = False) -> Iterator[dict[str, Any]]:
    """Every node that a nested loop goes through again for each row of its other side (the speeds are one row)."""
    if inside:
        yield plan
    one_row = plan.get("Plans", [{}])[0].get("CTE Name") == "speeds"
    for child in plan.get("Plans", ()):
        once = child["Parent Relationship"] == "InitPlan"
        again = plan["Node Type"] == "Nested Loop" and child["Parent Relationship"] == "Inner" and not one_row
        yield from _inner_sides(child, inside=not once and (inside or again) and plan["Node Type"] != "Hash")
