"""A connection for the work of a chunked job: transactions, statements by their files, what their errors mean."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib.resources import files

import asyncpg
import structlog

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.connection import Connection, connect, leave
from services.runtime.postgres.errors import translate, translated
from services.runtime.postgres.hiding import without_values
from services.runtime.postgres.names import quoted
from services.runtime.postgres.states import RETRY_S

log = structlog.get_logger()

TEXT_TYPES = ("numeric", "bool", "uuid", "date", "timestamp", "timestamptz")
WHOLE_NUMBERS = ("int2", "int4", "int8")
SILENCE_S = 15.0
"""By how much an answer may be later than the server's own limit for a statement, before it is given up as lost."""
PING_S = 5.0
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w+)", re.DOTALL)
_CONTROL = {"ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "ROLLBACK", "SAVEPOINT", "START"}
_TIMED_OUT, _TOO_LONG = "57014", "25P04"


class StatementTimeoutError(PermanentError):
    """A statement took longer than the job allows."""


@cache
def protocol(name: str) -> str:
    """A statement of the chunks' own ledger, by its file in chunk_sql."""
    return (files(__package__) / "chunk_sql" / f"{name}.sql").read_text(encoding="utf-8")


class Session:
    """One connection to a job's database. After an error it may be of no use any more."""

    def __init__(self, connection: Connection, job: LoadedJob, place: str) -> None:
        self.connection = connection
        self.job = job
        self.place = place
        self.limit_s = job.job.database.statement_timeout_s

    @classmethod
    async def open(cls, access: PostgresAccess, job: LoadedJob, *, text_keys: bool) -> "Session":
        """Connect; with ``text_keys``, values of keys travel as PostgreSQL writes them, single or in arrays.

        Raises:
            BadDeclarationError: the job's secret stands for a variable that is not set.
            PermanentError, TemporaryError: the database refuses, or does not answer now.
        """
        secret = job.job.database.secret
        if (variable := unset_variable(secret)) is not None:
            raise BadDeclarationError(f"{job.name}: database.secret needs {variable}, which is not set")
        connection, parameters = await connect(access, secret)
        if text_keys:
            for name in (*WHOLE_NUMBERS, *TEXT_TYPES):
                decoder = int if name in WHOLE_NUMBERS else str
                await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=decoder, format="text")
        return cls(connection, job, parameters.place)

    async def answers(self) -> bool:
        """Whether the connection, idle so far, is still one."""
        try:
            with translated(self.place):
                await self.connection.execute("SELECT 1", timeout=PING_S)
        except (PermanentError, TemporaryError) as error:
            log.info("connection lost while it was idle", database=self.place, error=str(error))
            return False
        return True

    async def close(self) -> None:
        """End the connection, and with it whatever is under way."""
        await leave(self.connection)

    @asynccontextmanager
    async def transaction(self, *, reading: bool = False, idle_s: int | None = None) -> AsyncIterator[None]:
        """A transaction with the job's limits; ``reading`` sees one moment and can change nothing.

        Settings last as long as it does, so that a pool in front of the server passes nothing on.
        """
        mode = "REPEATABLE READ, READ ONLY" if reading else "READ COMMITTED, READ WRITE"
        try:
            await self.script("BEGIN", f"BEGIN ISOLATION LEVEL {mode};{self._settings(idle_s)}")
            yield
        except BaseException:
            await self._roll_back("ROLLBACK")
            raise
        await self.script("COMMIT", "COMMIT")

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """A part of a transaction, which goes on without what a failed one has done."""
        await self.script("SAVEPOINT", "SAVEPOINT part")
        try:
            yield
        except BaseException:
            await self._roll_back("ROLLBACK TO SAVEPOINT part")
            raise

    async def own(self, name: str, *values: object) -> asyncpg.Record | None:
        """The first row of a statement of the chunks' own ledger, if there is one."""
        with self.saying(f"chunk_sql/{name}.sql", values):
            return await self.connection.fetchrow(protocol(name), *values, timeout=self._patience_s)

    async def run(self, file: str, *values: object) -> str:
        """One statement in a file of the job; what the server says at its end."""
        text = self.job.text(file)
        if (first := _FIRST_WORD.match(text)) is not None and first[1].upper() in _CONTROL:
            raise PermanentError(
                f"{self.job.name}: {file}: {first[1]}: a step is part of a transaction, and may not end it"
            )
        with self.saying(file, values):
            # Without a name, which would not survive a pool in front of the server; and never more than one statement.
            statement = await self.connection.prepare(text, name="", timeout=self._patience_s)
            await statement.fetch(*values, timeout=self._patience_s)
            return str(statement.get_statusmsg())

    async def count(self, file: str, *values: object) -> int:
        """One statement in a file of the job; how many rows it worked on, by what the server says at its end."""
        said = await self.run(file, *values)
        number = said.rpartition(" ")[2]
        if not number.isdecimal():
            raise PermanentError(f"{self.job.name} at {self.place}: {file}: {said!r} does not say how many rows")
        return int(number)

    async def number(self, file: str, *values: object) -> int:
        """The one number that a statement in a file of the job answers."""
        with self.saying(file, values):
            found = await self.connection.fetchval(self.job.text(file), *values, timeout=self._patience_s)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise PermanentError(f"{self.job.name} at {self.place}: {file}: its answer is no number of rows")
        return found

    async def script(self, what: str, text: str) -> None:
        """Statements without parameters."""
        with self.saying(what):
            await self.connection.execute(text, timeout=self._patience_s)

    @contextmanager
    def saying(self, file: str, values: tuple[object, ...] = ()) -> Iterator[None]:
        """Translate what asyncpg raises inside the block; what is said names the file and none of the values."""
        what = f"{self.job.name} at {self.place}: {file}"
        began = time.monotonic()
        with translated(what):
            try:
                yield
            except asyncpg.PostgresError as error:
                without_values(error, values)
                # By the clock, because the server's words for it are in the server's language.
                late = error.sqlstate == _TIMED_OUT and time.monotonic() - began >= 0.99 * self.limit_s
                if late or error.sqlstate == _TOO_LONG:
                    raise StatementTimeoutError(f"{what}: not done within {self.limit_s} s") from error
                raise translate(error, what) from error
            except asyncpg.InterfaceError as error:
                if self.connection.is_closed():
                    raise TemporaryError(f"{what}: the connection broke off", delay=RETRY_S) from error
                raise PermanentError(f"{what}: {' '.join(str(error.args[0]).split())}") from error

    @property
    def _patience_s(self) -> float:
        return self.limit_s + SILENCE_S

    def _settings(self, idle_s: int | None) -> str:
        declared = self.job.job.database
        settings = {
            "search_path": ", ".join(quoted(name) for name in declared.search_path),
            "timezone": "'UTC'",
            "datestyle": "'ISO, YMD'",
            "statement_timeout": f"'{declared.statement_timeout_s}s'",
            "lock_timeout": f"'{declared.lock_timeout_s}s'",
            "idle_in_transaction_session_timeout": f"'{idle_s or declared.idle_timeout_s}s'",
        }
        return ";".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())

    async def _roll_back(self, how: str) -> None:
        if self.connection.is_closed():
            return
        try:
            with translated(f"{self.place}: {how}"):
                await self.connection.execute(how, timeout=PING_S)
        except (PermanentError, TemporaryError) as error:
            # What led here is what matters, and a connection without its client is rolled back by the server.
            log.info("transaction not rolled back in order", error=str(error))


@asynccontextmanager
async def session(access: PostgresAccess, job: LoadedJob, *, text_keys: bool = True) -> AsyncIterator[Session]:
    """A connection for one piece of work.

    Raises:
        PermanentError, TemporaryError: the database refuses, or does not answer now.
    """
    opened = await Session.open(access, job, text_keys=text_keys)
    try:
        yield opened
    finally:
        await opened.close()
