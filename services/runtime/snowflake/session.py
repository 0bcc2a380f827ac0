"""A session in a thread of its own: the driver blocks, and its errors are translated here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.secrets import Secrets
from services.runtime.snowflake.access import SnowflakeLogin, driver, read_login

_REFUSALS = ("ProgrammingError", "DataError", "IntegrityError", "NotSupportedError", "ForbiddenError", "BadRequest")
_PASSING_STATES = ("08", "57")
"""Classes of SQL states: the connection broke off; an operator or a warehouse cancelled the query."""
LOGIN_TIMEOUT_S = 30
RETRY_S = 15.0
_UNREADABLE = 252005
"""The driver's number for a row that it cannot make anything of."""

T = TypeVar("T")


class SnowflakeSession:
    """One connection. Its calls run one after the other in one thread, so closing never overtakes a running call."""

    def __init__(self, connection: Any, thread: ThreadPoolExecutor, login: SnowflakeLogin) -> None:
        self._connection = connection
        self._thread = thread
        self._login = login

    async def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query that has few.

        Raises:
            PermanentError: Snowflake refuses the query, in its own words.
            TemporaryError: the connection broke off.
        """

        def ask() -> list[tuple[Any, ...]]:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, tuple(values))
                return list(cursor.fetchall())

        return await self._call(ask)

    async def tables(self, sql: str, values: Sequence[object] = ()) -> AsyncIterator[Any]:
        """A query's rows as Arrow tables, one for each part in which Snowflake hands its result over.

        Raises:
            PermanentError: Snowflake refuses the query, in its own words.
            TemporaryError: the connection broke off.
        """

        def ask() -> Iterator[Any]:
            cursor = self._connection.cursor()
            cursor.execute(sql, tuple(values))
            return iter(cursor.fetch_arrow_batches())

        parts = await self._call(ask)
        while (part := await self._call(lambda: next(parts, None))) is not None:
            yield part

    async def batches(
        self, sql: str, values: Sequence[object], size: int
    ) -> AsyncIterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """A query's rows with the names of their columns, up to ``size`` at a time; at least one batch.

        Raises:
            PermanentError: Snowflake refuses the query, in its own words.
            TemporaryError: the connection broke off.
        """

        def ask() -> Any:
            cursor = self._connection.cursor()
            cursor.execute(sql, tuple(values))
            return cursor

        cursor = await self._call(ask)
        columns = tuple(column.name for column in await self._call(lambda: cursor.description))
        rows: list[tuple[Any, ...]] = await self._call(lambda: cursor.fetchmany(size))
        yield columns, rows
        while len(rows) == size:
            rows = await self._call(lambda: cursor.fetchmany(size))
            yield columns, rows

    async def _call(self, work: Callable[[], T]) -> T:
        with _translated(self._login):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@asynccontextmanager
async def open_session(
    secrets: Secrets, reference: str, *, login_timeout_s: int = LOGIN_TIMEOUT_S
) -> AsyncIterator[SnowflakeSession]:
    """Log in with what a secret says; a login that is refused is tried once more with the secret read anew.

    Raises:
        BadDeclarationError: the driver is not installed.
        PermanentError: the secret or the login is no good.
        TemporaryError: Snowflake does not answer.
    """
    module = driver()
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, thread_name_prefix="snowflake")
    try:
        login, connection = await _log_in(
            secrets,
            reference,
            lambda login: loop.run_in_executor(
                thread, lambda: module.connect(**login.arguments(login_timeout_s=login_timeout_s))
            ),
        )
        try:
            yield SnowflakeSession(connection, thread, login)
        finally:
            with _translated(login):
                await asyncio.shield(loop.run_in_executor(thread, connection.close))
    finally:
        thread.shutdown(wait=False)


async def _log_in(
    secrets: Secrets, reference: str, connect: Callable[[SnowflakeLogin], Awaitable[Any]]
) -> tuple[SnowflakeLogin, Any]:
    login = await read_login(secrets, reference)
    try:
        with _translated(login):
            return login, await connect(login)
    except PermanentError:
        changed = await read_login(secrets, reference, fresh=True)
        if changed == login:
            raise
    with _translated(changed):
        return changed, await connect(changed)


@contextmanager
def _translated(login: SnowflakeLogin) -> Iterator[None]:
    """Errors of the driver as ours, in one line that does not hold the password."""
    errors = driver().errors
    try:
        yield
    except errors.Error as error:
        text = " ".join(str(error).split()).replace(login.password.get_secret_value() or "\0", "…")
        said = f"Snowflake {login.account}: {text}"
        if _is_refusal(errors, error):
            raise PermanentError(said) from error
        raise TemporaryError(said, delay=RETRY_S) from error


def _is_refusal(errors: Any, error: Exception) -> bool:
    """Whether asking again is useless. A login that is refused is a ``DatabaseError`` and no more special one."""
    if isinstance(error, tuple(getattr(errors, name) for name in _REFUSALS)):
        return not str(getattr(error, "sqlstate", None)).startswith(_PASSING_STATES)
    return type(error) is errors.DatabaseError or getattr(error, "errno", None) == _UNREADABLE
