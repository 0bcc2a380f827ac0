"""Rows of PostgreSQL: binary COPY straight into Arrow, batch by batch.

The driver blocks, so each step is a call in a thread. A slice is one statement in one read-only transaction: its rows
are as of one moment, and a connection pool between us and the server need not keep any setting for us.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import structlog
from adbc_driver_manager import Error, _reader
from adbc_driver_postgresql import StatementOptions, dbapi

from contracts.loads import FetchSlice
from contracts.pipelines import Pipeline
from contracts.sources import PostgresSource
from services.fetcher.adapters.postgres_errors import LoginRefusedError, connecting, querying
from services.fetcher.adapters.postgres_sql import COLUMNS, Column, Query, query_of
from services.fetcher.adapters.postgres_values import Rows
from services.fetcher.core.jobs import fields_read
from services.fetcher.ports import TYPED_READS
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError
from services.runtime.postgres.access import ConnectionParameters, PostgresAccess
from services.runtime.postgres.names import qualified

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()

BATCH_BYTES = 2 * 1024 * 1024
"""What a batch aims at: so much the driver holds at a time, and one row more."""
CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_MS = 30_000
KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""Seconds: a connection whose other end is gone without a word is given up after a minute."""
T = TypeVar("T")


class PostgresRows:
    """``TypedRows`` of PostgreSQL tables and views."""

    def __init__(self, access: PostgresAccess, *, batch_bytes: int = BATCH_BYTES) -> None:
        self._access = access
        self._batch_bytes = batch_bytes
        # The same few threads for all slices: memory that the driver gives back stays with the thread that had it.
        self._threads = ThreadPoolExecutor(TYPED_READS, thread_name_prefix="postgres")

    async def read(self, pipeline: Pipeline, command: FetchSlice) -> "AsyncIterator[pa.RecordBatch]":
        """See the port. The query is cancelled when nobody reads on."""
        source = pipeline.source
        if not isinstance(source, PostgresSource):
            raise BadDeclarationError(f"pipeline {pipeline.name} is no table of PostgreSQL")
        if (name := unset_variable(source.secret)) is not None:
            raise BadDeclarationError(f"{pipeline.name}: source.secret stands for {name}, which is not set")
        session = await self._open(pipeline.name, source)
        try:
            await session.run(lambda: session.start(source, command, self._batch_bytes))
            while (batch := await session.run(session.next)) is not None:
                yield batch
        finally:
            await asyncio.shield(session.submit(session.close))

    async def _open(self, name: str, source: PostgresSource) -> "_Session":
        """A session; the secret may have been rotated since it was read, so a refusal is worth asking for it anew."""
        parameters = await self._access.parameters(source.secret)
        try:
            return await _Session.open(name, parameters, self._threads)
        except LoginRefusedError:
            return await _Session.open(name, await self._access.parameters(source.secret, fresh=True), self._threads)


class _Session:
    """One connection, used by one thread at a time."""

    def __init__(self, name: str, connection: dbapi.Connection, where: str, threads: Executor) -> None:
        self._name = name
        self._threads = threads
        self._connection = connection
        self._where = where
        self._cursor: dbapi.Cursor | None = None  # whose end is the reader's, too
        self._reader: _reader.AdbcRecordBatchReader | None = None
        self._rows: Rows | None = None

    @classmethod
    async def open(cls, name: str, parameters: ConnectionParameters, threads: Executor) -> "_Session":
        """Connect."""
        where = f"{name} at {parameters.place}"

        def connect() -> dbapi.Connection:
            with connecting(where):
                return dbapi.connect(_conninfo(parameters))

        opening = asyncio.get_running_loop().run_in_executor(threads, connect)
        try:
            return cls(name, await asyncio.shield(opening), where, threads)
        except asyncio.CancelledError:
            await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                await asyncio.to_thread(opening.result().close)
            raise

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Begin a blocking call in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def run(self, call: Callable[[], T]) -> T:
        """Make a blocking call; it is cancelled at the server if the task is, and has ended in any case."""
        work = self.submit(call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._cancel)
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # what a cancelled query says is of no interest
            raise

    def start(self, source: PostgresSource, command: FetchSlice, batch_bytes: int) -> None:
        """Begin the transaction and the query of a slice."""
        fields = fields_read(command, source)
        with querying(self._where):
            self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._set(
                {
                    "search_path": "pg_catalog",  # names mean the server's own things, whatever lies in a schema
                    "timezone": "UTC",
                    "datestyle": "ISO, YMD",
                    "intervalstyle": "postgres",
                    "bytea_output": "hex",
                    "extra_float_digits": "1",
                    "application_name": f"tidegate {command.run_id}/{command.segment_id}"[:63],
                    "statement_timeout": str(source.statement_timeout_s * 1_000),
                    "lock_timeout": str(LOCK_TIMEOUT_MS),
                    "max_parallel_workers_per_gather": "0",  # slices are read side by side already
                }
            )
            table = qualified(source.database_schema, source.table)
            query = query_of(source, command, fields, self._columns(table))
            if query.settings:
                self._set({f"tidegate.{name}": value for name, value in query.settings.items()})
            self._begin(query, batch_bytes)
        self._rows = Rows(fields, source.key, self._name)

    def next(self) -> "pa.RecordBatch | None":
        """The next batch, None at the end."""
        assert self._reader is not None  # noqa: S101 - the session was started
        assert self._rows is not None  # noqa: S101
        with querying(self._where):
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return None
        return self._rows.exact(batch)

    def close(self) -> None:
        """End the connection, and with it whatever is under way."""
        if self._reader is not None:
            self._reader.close()
        if self._cursor is not None:
            self._cursor.close()
        self._connection.close()

    def _cancel(self) -> None:
        try:
            self._connection.adbc_cancel()
        except Error as error:  # nothing is under way (any more), or the server is out of reach: the call ends anyway
            log.info("query not cancelled", where=self._where, error=str(error))

    def _columns(self, table: str) -> Mapping[str, Column]:
        with self._connection.cursor() as cursor:
            cursor.execute(COLUMNS, (table,))
            return {row[0]: Column(*row) for row in cursor.fetchall()}

    def _begin(self, query: Query, batch_bytes: int) -> None:
        options = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(batch_bytes)}
        self._cursor = self._connection.cursor(adbc_stmt_kwargs=options)
        self._cursor.execute(query.text)
        handle = self._cursor.fetch_arrow()
        # The public ways to a reader lose the SQLSTATE of what goes wrong while rows are read.
        self._reader = _reader.AdbcRecordBatchReader._import_from_c(handle.address)  # noqa: SLF001

    def _set(self, settings: Mapping[str, str]) -> None:
        """Settings of the transaction."""
        calls = [f"set_config(${n}, ${n + 1}, true)" for n in range(1, 2 * len(settings), 2)]
        self._execute(f"SELECT {', '.join(calls)}", [part for pair in settings.items() for part in pair])

    def _execute(self, text: str, values: Sequence[str] = ()) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(text, tuple(values))
            if values:
                cursor.fetchall()


def _conninfo(parameters: ConnectionParameters) -> str:
    options = {
        "host": parameters.host,
        "port": str(parameters.port),
        "dbname": parameters.database,
        "user": parameters.user,
        "password": parameters.password.get_secret_value(),
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "client_encoding": "UTF8",
        **({} if parameters.sslmode is None else {"sslmode": parameters.sslmode}),
        **KEEPALIVE,
    }
    return " ".join(f"{name}='{_escaped(value)}'" for name, value in options.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
