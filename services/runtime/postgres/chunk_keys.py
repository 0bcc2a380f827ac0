"""Keys with their numbers of rows, as a distribution has them: a few thousand at a time, checked one by one."""

from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal, InvalidOperation

import asyncpg

from contracts.chunk_jobs import KeyType
from services.runtime.chunking.ports import KeyRows
from services.runtime.failures import PermanentError
from services.runtime.postgres.chunk_sessions import Session

FETCHED = 5_000
"""Keys that are held at a time."""
ROWS = "rows"
_TYPES: dict[KeyType, tuple[str, ...]] = {
    "smallint": ("int2",),
    "integer": ("int4", "int2"),
    "bigint": ("int8", "int4", "int2"),
    "numeric": ("numeric", "int8", "int4", "int2"),
    "boolean": ("bool",),
    "text": ("text", "varchar"),
    "varchar": ("text", "varchar"),
    "uuid": ("uuid",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "timestamptz": ("timestamptz",),
}
"""Types that a column may have, by the declared one, which takes each of their values as it is."""


async def keys_of(session: Session, file: str, given: Sequence[object] = ()) -> AsyncGenerator[KeyRows, None]:
    """The keys that a statement of the job finds, in its order; needs a transaction, and keys as text.

    Raises:
        PermanentError: the server refuses, a column is missing or of another type, or a count is none; the text names
            the file and the column.
        TemporaryError: the server breaks off.
    """
    with session.saying(file):
        statement = await session.connection.prepare(session.job.text(file), name="")
        places = _places(session, file, statement)
        count = [attribute.name for attribute in statement.get_attributes()].index(ROWS)
        async for record in statement.cursor(*given, prefetch=FETCHED):
            values = tuple(None if (value := record[place]) is None else str(value) for place in places)
            yield KeyRows(values, _rows(record[count], f"{session.job.name}: {file}: column {ROWS!r}"))


def _places(
    session: Session, file: str, statement: "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"
) -> list[int]:
    """Where the key's columns are, in the declared order."""
    attributes = statement.get_attributes()
    names = [attribute.name for attribute in attributes]
    for name in (*session.job.job.keys, ROWS):
        if names.count(name) != 1:
            found = "no column" if name not in names else "more than one column"
            raise PermanentError(f"{session.job.name}: {file}: {found} {name!r} among {', '.join(names)}")
    places = []
    for name, column in session.job.job.keys.items():
        place = names.index(name)
        if (actual := attributes[place].type.name) not in _TYPES[column.type]:
            raise PermanentError(
                f"{session.job.name}: {file}: column {name!r} is {actual}, and is declared as {column.type}"
            )
        places.append(place)
    return places


def _rows(value: object, where: str) -> int:
    if type(value) is int and value >= 0:
        return value
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise PermanentError(f"{where} holds {'NULL' if value is None else 'no number'}") from None
    if isinstance(value, bool) or not number.is_finite() or number != int(number):
        raise PermanentError(f"{where} holds no whole number")
    if number < 0:
        raise PermanentError(f"{where} is negative")
    return int(number)
