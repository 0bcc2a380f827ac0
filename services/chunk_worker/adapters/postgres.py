"""Chunks in PostgreSQL: the protocol of services/runtime/postgres/chunk_sql, one method for each of its steps."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

from contracts.chunks import ChunkKeys
from services.chunk_worker.adapters.sessions import Sessions
from services.chunk_worker.ports import (
    ChunkTimeoutError,
    Claimed,
    Health,
    NoSlotError,
    Standing,
    TableState,
    Updated,
    Work,
)
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import said_of
from services.runtime.postgres.chunk_keys import keys_of
from services.runtime.postgres.chunk_sessions import Session, StatementTimeoutError

SLOT_S = 1.0
"""Seconds after which it is worth asking for a slot again."""


class PostgresChunkTables:
    """``ChunkTables`` over asyncpg, for as long as its block runs."""

    def __init__(self, access: PostgresAccess, *, connections: int) -> None:
        self._sessions = Sessions(access, connections=connections)
        self.alone = self._sessions.alone
        """Opens a session for other work on the same databases, within the same number of connections."""
        self._made: set[str] = set()
        """Jobs whose database is known to have the chunks' own ledger."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sessions.close()

    async def standing(self, job: LoadedJob, run_id: str, chunk_id: str) -> Standing:
        """See the port."""
        async with self._reading(job) as session:
            made = await self._is_made(session)
            found = await session.own("chunk", job.name, run_id, chunk_id) if made else None
        if found is None:
            return Standing(state=None, token=0, attempts=0, updated_rows=None, snapshot_run=None)
        return Standing(
            state=None if found["state"] is None else TableState(found["state"]),
            token=found["fencing_token"] or 0,
            attempts=found["attempts"] or 0,
            updated_rows=found["updated_rows"],
            snapshot_run=found["snapshot_run"],
        )

    async def claim(self, work: Work, *, mark: bool) -> Claimed | None:
        """See the port. A claim is an attempt, also if marking fails after it."""
        failed: PermanentError | None = None
        marked = 0
        async with self._writing(work.job) as session:
            if not await self._is_made(session):
                return None
            found = await session.own("claim", work.job.name, work.run_id, work.chunk_id, work.token, work.rows)
            if found is None:
                return None
            file = work.job.job.sql.mark
            if mark and file is not None and work.keys is not None:
                try:
                    async with session.part():
                        marked = await session.count(file, *_arrays(work.keys, work.job))
                except PermanentError as error:
                    failed = error
        if failed is not None:
            with _timeouts():
                raise failed
        return Claimed(attempts=found["attempts"], marked=marked)

    async def update(self, work: Work) -> Updated | None:
        """See the port."""
        job = work.job.job
        async with self._writing(work.job) as session:
            slot = await session.own("slot", job.name, job.chunks.concurrency)
            if slot is not None:
                found = await session.own("fence", job.name, work.run_id, work.chunk_id, work.token)
                if found is None:
                    return None
                file, arrays = _process(work)
                rows = await session.count(file, *arrays)
                gone = await _gone(session, work, found["planned_rows"], rows)
                await session.own("done", work.run_id, work.chunk_id, rows)
        if slot is None:
            text = (
                f"{job.name} at {session.place}: {job.chunks.concurrency} chunks are being updated, which is all it may"
            )
            raise NoSlotError(text, delay=SLOT_S)
        return Updated(rows, gone)

    async def split(self, work: Work, parts: Sequence[tuple[str, int]]) -> bool:
        """See the port."""
        async with self._writing(work.job) as session:
            if await session.own("split", work.run_id, work.chunk_id, work.token) is None:
                return False
            await session.own("plan", work.run_id, [name for name, _ in parts], [rows for _, rows in parts])
            return True

    async def blameless(self, work: Work) -> None:
        """See the port."""
        async with self._writing(work.job) as session:
            await session.own("blameless", work.run_id, work.chunk_id, work.token)

    async def health(self, job: LoadedJob) -> Health:
        """See the port."""
        async with self._reading(job) as session:
            found = await session.own("health", list(job.job.health.tables))
        assert found is not None  # noqa: S101 - an aggregate
        return Health(
            replication_lag_s=found["replication_lag_s"],
            lock_waits=found["lock_waits"],
            dead_tuple_ratio=found["dead_tuple_ratio"],
        )

    async def check(self, job: LoadedJob) -> str:
        """See the port."""
        async with self._reading(job) as session:
            with session.saying("check"):
                return await said_of(session.connection, session.place)

    async def _is_made(self, session: Session) -> bool:
        """Whether the chunks' own ledger is there at all."""
        name = session.job.name
        if name not in self._made:
            found = await session.own("exists")
            if found is None or not found["made"]:
                return False
            self._made.add(name)
        return True

    @asynccontextmanager
    async def _writing(self, job: LoadedJob) -> AsyncIterator[Session]:
        with _timeouts():
            async with self._sessions.of(job) as session, session.transaction():
                yield session

    @asynccontextmanager
    async def _reading(self, job: LoadedJob) -> AsyncIterator[Session]:
        with _timeouts():
            async with self._sessions.of(job) as session, session.transaction(reading=True):
                yield session


@contextmanager
def _timeouts() -> Iterator[None]:
    try:
        yield
    except StatementTimeoutError as error:
        raise ChunkTimeoutError(str(error)) from error


def _process(work: Work) -> tuple[str, list[list[str | None]]]:
    """The statement's file and what it is given."""
    sql = work.job.job.sql
    if work.keys is not None:
        return sql.process, _arrays(work.keys, work.job)
    if sql.whole is None:
        raise BadDeclarationError(f"{work.job.name} declares no sql.whole, and cannot be worked on in one piece")
    return sql.whole, []


def _arrays(keys: ChunkKeys, job: LoadedJob) -> list[list[str | None]]:
    """An array for each key column, in the order in which they are declared."""
    if sorted(keys.columns) != sorted(job.job.keys):
        raise PermanentError(f"{job.name}: keys of a chunk have columns {keys.columns}, not {list(job.job.keys)}")
    return [keys.values[keys.columns.index(name)] for name in job.job.keys]


async def _gone(session: Session, work: Work, planned: int, rows: int) -> int:
    """Rows that are there no more.

    Raises:
        PermanentError: rows are unaccounted for.
    """
    file, gone = work.job.job.sql.gone, 0
    if file is not None and rows < planned:
        if work.keys is not None:
            gone = await session.number(file, *_arrays(work.keys, work.job))
        else:
            gone = await _gone_of_all(session, work.job, file)
    if rows + gone == planned or (file is None and rows > planned):
        return gone
    where = f"{work.job.name} at {session.place}: chunk {work.chunk_id} of run {work.run_id}"
    if rows + gone < planned:
        counted = f"{planned:,} were planned, {rows:,} updated, and {gone:,} are gone"
        raise PermanentError(f"{where}: {planned - rows - gone:,} rows unaccounted for: {counted}")
    raise PermanentError(f"{where}: more rows than there are: {planned:,} planned, {rows:,} updated, {gone:,} gone")


async def _gone_of_all(session: Session, job: LoadedJob, file: str) -> int:
    """The same for a run in one piece, whose keys are read anew, and not all at once."""
    gone = 0
    batch: list[tuple[str | None, ...]] = []

    async def counted() -> int:
        arrays = [list(values) for values in zip(*batch, strict=True)]
        batch.clear()
        return await session.number(file, *arrays)

    # A job's own limit, because its statement was written for so many keys.
    most = job.job.chunks.max_keys
    async with aclosing(keys_of(session, job.job.sql.distribution)) as keys:
        async for key in keys:
            batch.append(key.values)
            if len(batch) == most:
                gone += await counted()
    return gone + (await counted() if batch else 0)
