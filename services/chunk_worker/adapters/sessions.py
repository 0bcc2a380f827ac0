"""Connections of a process to the databases of its jobs: never more than allowed, kept open between chunks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.chunk_sessions import Session


class Sessions:
    """Sessions by the secret of their database; whatever else a job declares lasts for a transaction only."""

    def __init__(self, access: PostgresAccess, *, connections: int) -> None:
        self._access = access
        self._connections = connections
        self._free = asyncio.Semaphore(connections)
        self._taken = 0
        self._idle: list[tuple[str, Session]] = []
        """The one that has been idle longest comes first."""

    @asynccontextmanager
    async def of(self, job: LoadedJob) -> AsyncIterator[Session]:
        """A session for as long as the block runs; who finds none free waits. After an error it is not used again.

        Raises:
            PermanentError, TemporaryError: the database refuses, or does not answer now.
        """
        secret = job.job.database.secret
        async with self._free:
            self._taken += 1
            try:
                session = await self._opened(secret, job)
                try:
                    yield session
                except BaseException:
                    await _finished(session)
                    raise
                self._idle.append((secret, session))
            finally:
                self._taken -= 1

    @asynccontextmanager
    async def alone(self, job: LoadedJob, *, text_keys: bool = True) -> AsyncIterator[Session]:
        """A new session for one piece of work, closed after it; it counts like any other.

        Raises:
            PermanentError, TemporaryError: the database refuses, or does not answer now.
        """
        async with self._free:
            self._taken += 1
            try:
                session = await self._new(job, text_keys=text_keys)
                try:
                    yield session
                finally:
                    await _finished(session)
            finally:
                self._taken -= 1

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop()[1].close()

    async def _opened(self, secret: str, job: LoadedJob) -> Session:
        while (kept := self._kept(secret)) is not None:
            session = Session(kept.connection, job, kept.place)
            if await _answers(session):
                return session
            await _finished(session)
        return await self._new(job, text_keys=True)

    async def _new(self, job: LoadedJob, *, text_keys: bool) -> Session:
        # The one whose place is taken is closed before, so that there is never one too many.
        while len(self._idle) + self._taken > self._connections:
            await _finished(self._idle.pop(0)[1])
        return await Session.open(self._access, job, text_keys=text_keys)

    def _kept(self, secret: str) -> Session | None:
        for place in reversed(range(len(self._idle))):
            if self._idle[place][0] == secret:
                return self._idle.pop(place)[1]
        return None


async def _answers(session: Session) -> bool:
    try:
        return await session.answers()
    except BaseException:
        await _finished(session)
        raise


async def _finished(session: Session) -> None:
    """Close to the end, also for whoever is cancelled meanwhile: nobody else may take the place before."""
    closing = asyncio.ensure_future(session.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait({closing})
        raise
