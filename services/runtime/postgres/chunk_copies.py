"""Rows of another database, put into a temporary table that stands before the table of the same name meanwhile."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from contracts.chunk_jobs import Copy
from services.runtime.chunking.ports import AnalyticsSource, Batch
from services.runtime.failures import PermanentError
from services.runtime.postgres.chunk_sessions import Session
from services.runtime.postgres.names import quoted


async def copy_in(session: Session, copy: Copy, source: AnalyticsSource, given: Sequence[str | date]) -> int:
    """Carry a copy out in the session's transaction, with whose end the table goes; how many rows came.

    Raises:
        PermanentError: one of the databases refuses, a column is not in the table, or a value does not fit it.
        TemporaryError: one of them breaks off.
    """
    file, into = copy.query.file, quoted(copy.into)
    await session.script(
        f"copy into {copy.into}",
        f"CREATE TEMP TABLE {into} (LIKE {into} INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP",
    )
    types = await _types(session, f"pg_temp.{into}")
    rows = 0
    async with aclosing(_closing(source.read(session.job.text(file), given))) as batches:
        async for batch in batches:
            for name in batch.columns:
                if name not in types:
                    raise PermanentError(f"{session.job.name}: {file}: table {copy.into} has no column {name!r}")
            fits = [_FITS.get(types[name]) for name in batch.columns]
            records = list(_fitted(batch, fits, f"{session.job.name}: {file}"))
            await _put(session, copy, batch.columns, records)
            rows += len(batch.rows)
    await session.script(f"copy into {copy.into}", f"ANALYZE pg_temp.{into}")
    return rows


async def _put(session: Session, copy: Copy, columns: Sequence[str], records: list[tuple[object, ...]]) -> None:
    what = f"copy of {copy.query.file} into {copy.into}"
    try:
        with session.saying(what):
            await session.connection.copy_records_to_table(
                copy.into, schema_name="pg_temp", columns=columns, records=records, timeout=session.limit_s
            )
    except (ValueError, TypeError, ArithmeticError, AttributeError):
        # What the driver says of a value that it cannot send quotes it.
        raise PermanentError(f"{session.job.name}: {what}: a value does not fit its column") from None


async def _closing(batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch, None]:
    """The same, closed with this one: the port promises no more than an iterator."""
    try:
        async for batch in batches:
            yield batch
    finally:
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()


async def _types(session: Session, table: str) -> dict[str, str]:
    with session.saying(f"columns of {table}"):
        statement = await session.connection.prepare(f"SELECT * FROM {table}", name="")  # noqa: S608 - it is quoted
        return {attribute.name: attribute.type.name for attribute in statement.get_attributes()}


def _fitted(batch: Batch, fits: Sequence[Callable[[Any], Any] | None], where: str) -> Iterator[tuple[object, ...]]:
    for row in batch.rows:
        yield tuple(
            _fit(value, *pair, where) for value, pair in zip(row, zip(fits, batch.columns, strict=True), strict=True)
        )


def _fit(value: Any, fit: Callable[[Any], Any] | None, column: str, where: str) -> object:
    if value is None or fit is None:
        return value
    try:
        return fit(value)
    except (ValueError, TypeError, ArithmeticError):
        # Without the cause, which quotes the value.
        raise PermanentError(f"{where}: column {column!r} has a value that does not fit the table's") from None


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, str) or number != value:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return str(value)


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        if value.timetz() != time():
            raise ValueError
        return value.date()
    return _kept(value, date)


def _moment(value: Any) -> datetime:
    """Times without a zone are UTC, here and there."""
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    return datetime.combine(_kept(value, date), time())


def _instant(value: Any) -> datetime:
    return _moment(value).replace(tzinfo=UTC)


def _decimal(value: Any) -> Decimal:
    return Decimal(repr(value) if isinstance(value, float) else value)


def _kept(value: Any, kind: type[date]) -> date:
    if not isinstance(value, kind):
        raise TypeError
    return value


_FITS: dict[str, Callable[[Any], Any]] = {
    "int2": _whole,
    "int4": _whole,
    "int8": _whole,
    "float4": float,
    "float8": float,
    "numeric": _decimal,
    "text": _text,
    "varchar": _text,
    "bpchar": _text,
    "bool": _truth,
    "date": _day,
    "timestamp": _moment,
    "timestamptz": _instant,
}
"""What makes a value of another database one of a column's type; types that are not here take it as it is."""
