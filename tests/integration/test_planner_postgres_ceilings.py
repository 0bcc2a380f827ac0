"""How far a load may trust a real PostgreSQL server, whoever is writing into it."""

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from services.planner.adapters.postgres.ceilings import ceiling_of
from services.planner.core.loads import cursor_of
from services.runtime.failures import PermanentError
from tests.integration.planner_postgres_support import ORDERS, SECRET, Sight
from tests.postgres_support import Database

MOMENT_S = 0.3
"""Seconds that make a difference which can be told from how long a query takes."""


async def test_nobody_writes(database: Database) -> None:
    """The ceiling is the server's clock, less the lag."""
    database.run(ORDERS)
    assert 0 <= await Sight(database, lag_seconds=0).behind() < 2
    assert 30 <= await Sight(database, lag_seconds=30).behind() < 32


@pytest.mark.parametrize("first", ["SELECT 1", "INSERT INTO orders VALUES (1, now())", None])
async def test_an_open_transaction_holds_the_ceiling(database: Database, first: str | None) -> None:
    """By its start, whether it has only read, has written, or has done nothing yet, and sits idle since."""
    database.run(ORDERS)
    sight = Sight(database, lag_seconds=0)
    writer = await database.connect()
    try:
        transaction = writer.transaction()
        await transaction.start()
        if first is not None:
            await writer.execute(first)
        started = await writer.fetchval("SELECT now()") if first is not None else datetime.now(UTC)
        await asyncio.sleep(MOMENT_S)
        ceiling = await sight.entity.ceiling(datetime.now(UTC))
        assert ceiling == started if first is not None else ceiling <= started
        await transaction.commit()
        assert await sight.behind() < MOMENT_S
    finally:
        await writer.close()


async def test_a_late_commit_is_not_lost(database: Database) -> None:
    """A row of a transaction that began before the load and writes after it is in the next load.

    At the time of the look that transaction has no id, so no snapshot knows of it.
    """
    database.run(ORDERS)
    sight = Sight(database, lag_seconds=0)
    late, quick = await database.connect(), await database.connect()
    try:
        await late.execute("BEGIN")
        await late.execute("SELECT 1")
        await asyncio.sleep(0.01)
        await quick.execute("INSERT INTO orders VALUES (1, now())")
        end = cursor_of(await sight.entity.ceiling(datetime.now(UTC)))
        first = await sight.cut(end=end)
        await late.execute("INSERT INTO orders VALUES (2, now())")
        await late.execute("COMMIT")
        read = await sight.rows_of([cut.slice for cut in first])
        then = cursor_of(await sight.entity.ceiling(datetime.now(UTC)))
        read += await sight.rows_of([cut.slice for cut in await sight.cut(end, then, whole=False)])
        assert sorted(key for keys in read for key in keys) == ["1", "2"]
    finally:
        await late.close()
        await quick.close()


async def test_a_prepared_transaction_holds_the_ceiling(database: Database) -> None:
    """It began some time before it was prepared; the lag stands for how much."""
    database.run(ORDERS)
    sight = Sight(database, lag_seconds=2)
    writer = await database.connect()
    name = f"prepared in {database.name}"
    try:
        await writer.execute("BEGIN; INSERT INTO orders VALUES (1, now())")
        await writer.execute(f"PREPARE TRANSACTION '{name}'")
        prepared = await writer.fetchval("SELECT prepared FROM pg_prepared_xacts WHERE gid = $1", name)
        await asyncio.sleep(MOMENT_S)
        ceiling = await sight.entity.ceiling(datetime.now(UTC))
        assert (prepared - ceiling).total_seconds() == 4
    finally:
        await writer.execute(f"ROLLBACK PREPARED '{name}'")
        await writer.close()
    assert 2 <= await sight.behind() < 2 + MOMENT_S


async def test_other_databases_do_not_matter(database: Database) -> None:
    """Nobody writes into this one from there."""
    database.run(ORDERS)
    other = database.server.new_database()
    elsewhere = await other.connect()
    try:
        await elsewhere.execute("BEGIN")
        await asyncio.sleep(MOMENT_S)
        assert await Sight(database, lag_seconds=0).behind() < MOMENT_S
    finally:
        await elsewhere.close()
        database.server.drop(other)


async def test_a_role_that_may_not_look(database: Database) -> None:
    """It reads five minutes behind, and a warning says which right it lacks; with the right it reads as all do."""
    role = f"blind_in_{database.name}"
    database.run(ORDERS, f"CREATE ROLE {role} LOGIN PASSWORD 'reads'", f"GRANT SELECT ON orders TO {role}")
    sight = Sight(database, lag_seconds=2)
    sight.secrets.stored[SECRET] = database.secret.replace('"postgres"', f'"{role}"').replace(
        database.server.password, "reads"
    )
    try:
        with capture_logs() as logs:
            assert 300 <= await sight.behind() < 302
        (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
        assert f"GRANT pg_read_all_stats TO {role}" in warning["reason"]
        patient = Sight(database, lag_seconds=900)
        patient.secrets.stored = sight.secrets.stored
        assert 900 <= await patient.behind() < 902
        database.run(f"GRANT pg_read_all_stats TO {role}")
        with capture_logs() as logs:
            assert 2 <= await sight.behind() < 4
        assert [entry for entry in logs if entry["log_level"] == "warning"] == []
    finally:
        database.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_session_that_hides_its_transactions(database: Database) -> None:
    """As long as it is there, the ceiling keeps as far behind as if nobody could be seen."""
    database.run(ORDERS)
    sight = Sight(database, lag_seconds=2)
    writer = await database.connect()
    try:
        await writer.execute("SET track_activities = off")
        with capture_logs() as logs:
            assert 300 <= await sight.behind() < 302
        assert "track_activities" in logs[0]["reason"]
        await writer.execute("SET track_activities = on")
        await writer.execute("SELECT 1")
        assert 2 <= await sight.behind() < 4
    finally:
        await writer.close()


async def test_a_ceiling_is_asked_without_a_table(database: Database) -> None:
    """That the table is missing is told by who describes it."""
    assert await Sight(database, lag_seconds=0).behind() < 2
    with pytest.raises(PermanentError):
        await Sight(database).entity.describe()


def test_a_replica_shows_no_open_transactions() -> None:
    """It is read five minutes below what it has replayed; a clock that nobody sets says nothing there."""
    clock, replayed = datetime(2026, 1, 1, 12, 0, tzinfo=UTC), datetime(2026, 1, 1, 11, 0, tzinfo=UTC)
    look = {"clock": clock, "role": "r", "is_replica": True, "replayed": replayed, "sees_all": True, "oldest": None}
    look |= {"hides": False}
    ceiling = ceiling_of(look | {"prepared": None}, 2)
    assert ceiling.moment == datetime(2026, 1, 1, 10, 55, tzinfo=UTC)
    assert "replica" in (ceiling.warning or "")
    assert ceiling_of(look | {"prepared": None, "replayed": None}, 900).moment == datetime(
        2026, 1, 1, 11, 45, tzinfo=UTC
    )
