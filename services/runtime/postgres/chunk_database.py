"""The database of a chunked job, as planning and ending its runs need it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import date
from functools import partial
from typing import Protocol

import asyncpg
import structlog

from contracts.chunk_jobs import Argument, Copy, Statement
from contracts.chunks import PlannedChunk
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import AnalyticsSources, KeyRows, Window
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.chunk_copies import copy_in
from services.runtime.postgres.chunk_keys import keys_of
from services.runtime.postgres.chunk_sessions import Session, protocol, session

log = structlog.get_logger()

REGISTERED = 5_000
"""Chunks that one statement enters."""


class OpenSession(Protocol):
    """Opens a session for one piece of work."""

    def __call__(self, job: LoadedJob, *, text_keys: bool = True) -> AbstractAsyncContextManager[Session]:
        """See ``session``."""
        ...


class PostgresJobDatabases:
    """``JobDatabases`` of PostgreSQL; whoever limits the connections of a process brings ``open_session``."""

    def __init__(
        self, access: PostgresAccess, analytics: AnalyticsSources, open_session: OpenSession | None = None
    ) -> None:
        self._open_session = open_session or partial(session, access)
        self._analytics = analytics

    def of(self, job: LoadedJob) -> "PostgresJobDatabase":
        """See the port."""
        return PostgresJobDatabase(self._open_session, job, self._analytics)


class PostgresJobDatabase:
    """``JobDatabase`` of one job: the protocol of chunk_sql, as far as no single chunk is concerned."""

    def __init__(self, open_session: OpenSession, job: LoadedJob, analytics: AnalyticsSources) -> None:
        self._open_session = open_session
        self._job = job
        self._analytics = analytics

    async def prepare(self, run_id: str, window: Window) -> bool:
        """See the port."""
        job = self._job.job
        copies = any(isinstance(step, Copy) for step in job.sql.prepare)
        # The other database may take its time, and who waits for it is not dead.
        idle_s = job.database.statement_timeout_s if copies else None
        async with self._session(text_keys=False) as opened:
            if await _present(opened) == run_id:
                return False
            await self._set_up(opened)
            async with opened.transaction(idle_s=idle_s):
                if await opened.own("open", job.name, run_id) is None:
                    return False
                for step in job.sql.prepare:
                    await self._step(opened, step, run_id, window)
        return True

    async def present_run(self) -> str | None:
        """See the port."""
        async with self._session() as opened:
            return await _present(opened)

    async def distribution(self) -> AsyncIterator[KeyRows]:
        """See the port."""
        async with aclosing(self._keys(self._job.job.sql.distribution, ())) as keys:
            async for key in keys:
                yield key

    async def preview(self, window: Window) -> AsyncIterator[KeyRows]:
        """See the port."""
        preview = self._job.job.sql.preview
        if preview is None:
            raise BadDeclarationError(f"{self._job.name} declares no sql.preview")
        async with aclosing(self._keys(preview.file, _given(preview, None, window))) as keys:
            async for key in keys:
                yield key

    async def register(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See the port."""
        async with self._session() as opened, opened.transaction():
            for start in range(0, len(chunks), REGISTERED):
                some = chunks[start : start + REGISTERED]
                await opened.own("plan", run_id, [each.chunk_id for each in some], [each.rows for each in some])

    async def retry(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """See the port."""
        if not chunk_ids:
            return
        async with self._session() as opened, opened.transaction():
            await opened.own("retry", run_id, list(chunk_ids))

    async def finish(self, run_id: str) -> None:
        """See the port."""
        finish = self._job.job.sql.finish
        if finish is None:
            return
        given = _given(finish, run_id, None)
        async with self._session() as opened, opened.transaction():
            await opened.run(finish.file, *given)

    def _session(self, *, text_keys: bool = True) -> AbstractAsyncContextManager[Session]:
        return self._open_session(self._job, text_keys=text_keys)

    async def _keys(self, file: str, given: Sequence[str | date]) -> AsyncGenerator[KeyRows, None]:
        async with (
            self._session() as opened,
            opened.transaction(reading=True),
            aclosing(keys_of(opened, file, given)) as keys,
        ):
            async for key in keys:
                yield key

    async def _set_up(self, opened: Session) -> None:
        """Tables and functions, by one worker at a time: creating what another is creating fails."""
        try:
            async with opened.transaction():
                await opened.own("setup")
                await opened.script("chunk_sql/tables.sql", protocol("tables"))
                for file in self._job.job.sql.setup:
                    await opened.script(file, self._job.text(file))
        except PermanentError as error:
            if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise
            # Who may only work on rows finds tables that others have made, or is told below what is missing.
            log.warning("tables are left as they are", pipeline=self._job.name, error=str(error))

    async def _step(self, opened: Session, step: Statement | Copy, run_id: str, window: Window) -> None:
        if isinstance(step, Statement):
            await opened.run(step.file, *_given(step, run_id, window))
            return
        rows = await copy_in(opened, step, self._analytics.of(self._job), _given(step.query, run_id, window))
        log.info("rows copied", pipeline=self._job.name, into=step.into, rows=rows)


async def _present(opened: Session) -> str | None:
    async with opened.transaction(reading=True):
        made = await opened.own("exists")
        if made is None or not made["made"]:
            return None
        found = await opened.own("present", opened.job.name)
    return None if found is None else str(found["run_id"])


def _given(statement: Statement, run_id: str | None, window: Window | None) -> list[str | date]:
    """What a statement is given, in order.

    Raises:
        BadDeclarationError: it wants what is not known when it runs.
    """
    known: dict[Argument, str | date] = {}
    if run_id is not None:
        known["run_id"] = run_id
    if window is not None:
        known |= {"first_day": window.first_day, "last_day": window.last_day}
    for name in statement.given:
        if name not in known:
            raise BadDeclarationError(f"{statement.file}: {name} is not known when it runs")
    return [known[name] for name in statement.given]
