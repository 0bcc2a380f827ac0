"""One table of PostgreSQL, as the planner asks it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from contracts.fields import EntityField
from contracts.pipelines import Pipeline
from contracts.sources import PostgresSource
from services.planner.adapters.postgres.ceilings import look
from services.planner.adapters.postgres.columns import find_table
from services.planner.adapters.postgres.cuts import LARGE, Cutter
from services.planner.ports import Cut
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError
from services.runtime.postgres.access import ConnectionParameters, PostgresAccess
from services.runtime.postgres.connection import Connection, reading

log = structlog.get_logger()

STATEMENT_S = 200
"""Longest query of a plan, seconds: a planner has five minutes for all of it."""


class PostgresEntity:
    """``Entity`` over one table; each question is asked over a connection of its own."""

    def __init__(self, access: PostgresAccess, name: str, source: PostgresSource, *, sampled_from: int = LARGE) -> None:
        self._access = access
        self._name = name
        self._source = source
        self._sampled_from = sampled_from

    @classmethod
    def open(cls, access: PostgresAccess, pipeline: Pipeline) -> "PostgresEntity":
        """The entity of a pipeline.

        Raises:
            BadDeclarationError: its declaration is of another kind, or stands for a variable that is not set.
        """
        source = pipeline.source
        if not isinstance(source, PostgresSource):
            raise BadDeclarationError(f"{pipeline.name} reads no table of PostgreSQL but {source.kind!r}")
        for place, text in (("secret", source.secret), ("schema", source.database_schema), ("table", source.table)):
            if (variable := unset_variable(text)) is not None:
                raise BadDeclarationError(f"source.{place} needs {variable}, which is not set")
        return cls(access, pipeline.name, source)

    async def describe(self) -> list[EntityField]:
        """See the port."""
        async with self._reading() as (connection, parameters):
            return (await find_table(connection, self._source, parameters.database)).fields

    async def ceiling(self, now: datetime) -> datetime:  # noqa: ARG002 - the server has a clock of its own
        """See the port."""
        async with self._reading() as (connection, _):
            ceiling = await look(connection, self._source.lag_seconds)
        if ceiling.warning is not None:
            log.warning("open transactions cannot be seen", pipeline=self._name, reason=ceiling.warning)
        return ceiling.moment

    async def cut(self, start: str, end: str, fields: Sequence[EntityField], *, whole: bool) -> list[Cut]:
        """See the port."""
        async with self._reading() as (connection, parameters):
            table = await find_table(connection, self._source, parameters.database)
            cutter = Cutter(connection, self._source, table, sampled_from=self._sampled_from)
            if not whole and await cutter.has_rows_without_cursor():
                log.warning("rows without a cursor: only full loads read them", pipeline=self._name)
            return await cutter.cut(start, end, fields, whole=whole)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[Connection, ConnectionParameters]]:
        async with reading(self._access, self._source.secret, statement_timeout_s=STATEMENT_S) as opened:
            yield opened
