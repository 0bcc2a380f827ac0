"""A planner and a PostgreSQL server that is out, full, restarting, or has a new password."""

import json
from datetime import UTC, datetime

import pytest

from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.postgres.connection import reading
from tests.integration.planner_postgres_support import ORDERS, SECRET, Sight
from tests.postgres_support import Database, PostgresServer

WRONG = "n0t-the-password"


def with_password(database: Database, password: str) -> str:
    """The secret of a database with another password."""
    return json.dumps(json.loads(database.secret) | {"password": password})


async def carry_out(sight: Sight, statement: str) -> None:
    """A statement in a transaction as the planner has them, with a second's patience."""
    async with reading(sight.entity._access, SECRET, statement_timeout_s=1) as (connection, _):
        await connection.execute(statement)


async def test_a_rotated_password_is_read_anew(database: Database) -> None:
    """What the cache still holds is refused; the secret itself is right by now."""
    database.run(ORDERS)
    sight = Sight(database)
    sight.secrets.stored[SECRET] = with_password(database, WRONG)
    await sight.secrets.read(SECRET)
    sight.secrets.stored[SECRET] = database.secret
    assert len(await sight.entity.describe()) == 3


async def test_a_wrong_password_is_refused_once(database: Database) -> None:
    """It was read anew and is still refused: trying again cannot help. No text shows it, nor the right one."""
    sight = Sight(database)
    sight.secrets.stored[SECRET] = with_password(database, WRONG)
    with pytest.raises(PermanentError) as error:
        await sight.entity.describe()
    assert "password authentication failed" in str(error.value)
    seen: BaseException | None = error.value
    while seen is not None:
        assert WRONG not in repr(seen)
        seen = seen.__cause__ or seen.__context__


async def test_a_database_that_is_not_there(database: Database) -> None:
    """The server's words name it."""
    sight = Sight(database)
    sight.secrets.stored[SECRET] = json.dumps(json.loads(database.secret) | {"database": "nowhere"})
    with pytest.raises(PermanentError, match=r'connect to 127.0.0.1:\d+/nowhere: database "nowhere" does not exist'):
        await sight.entity.describe()


async def test_a_server_that_is_out_for_a_while(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A refused connection is no reason to give up, and the next try finds it again."""
    server = PostgresServer(tmp_path_factory.mktemp("stopped"))
    server.start()
    try:
        database = server.new_database()
        database.run(ORDERS)
        sight = Sight(database)
        server.stop()
        for question in (sight.entity.describe(), sight.entity.ceiling(datetime.now(UTC)), sight.cut()):
            with pytest.raises(TemporaryError, match=r"connect to 127.0.0.1:\d+/") as error:
                await question
            assert server.password not in str(error.value)
        server.start()
        assert len(await sight.entity.describe()) == 3
    finally:
        server.stop()
        server.remove()


async def test_no_connection_left(database: Database) -> None:
    """Others may give theirs back."""
    role = f"limited_in_{database.name}"
    database.run(f"CREATE ROLE {role} LOGIN PASSWORD '{WRONG}' CONNECTION LIMIT 0")
    sight = Sight(database)
    sight.secrets.stored[SECRET] = json.dumps(json.loads(with_password(database, WRONG)) | {"username": role})
    try:
        with pytest.raises(TemporaryError, match="too many connections"):
            await sight.entity.describe()
    finally:
        database.run(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("statement", "is_passing"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SELECT pg_cancel_backend(pg_backend_pid())", True),
        ("SELECT pg_sleep(5)", True),
        ("SELECT * FROM no_such_table", False),
        ("SELECT no_such_column FROM public.orders", False),
        ("SELECT 1 / 0", False),
        ("SELECT 'x'::int", False),
        ("DELETE FROM public.orders", False),
        ("SELECT length(note) FROM orders", False),
    ],
)
async def test_what_breaks_off_and_what_is_refused(database: Database, statement: str, *, is_passing: bool) -> None:
    """Ends of connections and of patience pass; what the server will never do does not. Nothing can be written."""
    database.run(ORDERS)
    sight = Sight(database)
    with pytest.raises((TemporaryError, PermanentError)) as error:
        await carry_out(sight, statement)
    assert isinstance(error.value, TemporaryError) is is_passing
    assert str(error.value).startswith(f"127.0.0.1:{database.server.port}/{database.name}: ")
    assert "\n" not in str(error.value)
    database.run("SELECT FROM orders")


async def test_a_table_that_is_locked_is_left_alone(database: Database) -> None:
    """Describing it waits for nobody; who has to read it waits a little and comes back."""
    database.run(ORDERS)
    sight = Sight(database)
    locking = await database.connect()
    try:
        await locking.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        assert len(await sight.entity.describe()) == 3
        with pytest.raises(TemporaryError, match="lock timeout"):
            await carry_out(sight, "SET LOCAL lock_timeout = '50ms'; SELECT FROM public.orders")
    finally:
        await locking.close()
    assert await sight.cut() == []
