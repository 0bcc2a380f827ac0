"""What the driver gives → values of exactly the declared types, or an error that names the first that is none.

The driver hands out numerics as text, arrays of several dimensions as flat ones, and what lies beyond its types
(infinity, years BC) as numbers that wrapped around.
"""

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, InvalidOperation, localcontext
from decimal import Inexact as InexactError

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import EntityField, TypeParts
from services.fetcher.core.landing import arrow_type, schema_of
from services.runtime.failures import PermanentError

SAFE_DIGITS = 38
"""Texts up to this long are cast by Arrow; its check misses digits that lie deeper than 38 places."""
PLACES = 100
SHOWN = 60
"""Most characters of a value that an error text shows."""

_DAY_US = 86_400_000_000
_RANGES = {
    "date": (-719_162, 2_932_896),
    "time_us": (0, _DAY_US - 1),
    "timestamp_us": (-719_162 * _DAY_US, 2_932_897 * _DAY_US - 1),
    "timestamp_us_utc": (-719_162 * _DAY_US, 2_932_897 * _DAY_US - 1),
}
"""Days and microseconds from 0001-01-01 to 9999-12-31: what all readers of Parquet take."""


class _BadValueError(Exception):
    """The value at this place does not fit."""

    def __init__(self, index: int, value: str) -> None:
        super().__init__(value)
        self.index = index


class Rows:
    """Turns the driver's batches of one query into rows with declared fields; ``where`` names the entity for people."""

    def __init__(self, fields: Sequence[EntityField], key: Sequence[str], where: str) -> None:
        self._fields = fields
        self._key = key
        self._where = where
        self._schema = schema_of(fields)
        self._lists = [n for n, field in enumerate(fields) if TypeParts.of(field.type).item is not None]

    def exact(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows, typed as declared; the driver's batch has a flag for each array after the fields.

        Raises:
            PermanentError: a value does not fit; the text names its column and the key of its row.
        """
        for flag, number in enumerate(self._lists, len(self._fields)):
            if batch.column(flag).true_count:
                row = pc.index(batch.column(flag), pa.scalar(True)).as_py()
                raise self._wrong(batch, self._fields[number], row, "an array of several dimensions")
        columns = []
        for number, field in enumerate(self._fields):
            try:
                columns.append(_exact(batch.column(number), field.type))
            except _BadValueError as bad:
                raise self._wrong(batch, field, bad.index, str(bad)) from bad
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _wrong(self, batch: pa.RecordBatch, field: EntityField, row: int, value: str) -> PermanentError:
        names = [each.name for each in self._fields]
        keys = [f"{name}={_text(batch.column(names.index(name)), row)}" for name in self._key if name in names]
        shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
        return PermanentError(
            f"{self._where}: {field.name} of the row {', '.join(keys)} is {shown}, which is no {field.type}"
        )


def _exact(array: pa.Array, type_: str) -> pa.Array:
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return _exact_lists(array, parts.item)
    array = getattr(array, "storage", array)
    if parts.name == "decimal":
        return _located(array, lambda texts: _decimals(texts, arrow_type(type_)))
    if parts.name in _RANGES:
        _check_range(array, *_RANGES[parts.name])
    if array.type != arrow_type(type_):
        raise TypeError(f"the driver gave {array.type} for {type_}")
    return array


def _exact_lists(array: pa.Array, item: str) -> pa.Array:
    offsets, values = array.offsets, array.values
    try:
        exact = _exact(values, item)
    except _BadValueError as bad:
        row = pc.list_parent_indices(array)[bad.index - offsets[0].as_py()].as_py()
        raise _BadValueError(row, f"an array with {bad}") from bad
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(offsets, exact, type=pa.list_(exact.type), mask=mask)


def _check_range(array: pa.Array, least: int, greatest: int) -> None:
    numbers = array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64())
    found = pc.min_max(numbers).as_py()
    if found["min"] is None or (found["min"] >= least and found["max"] <= greatest):
        return
    outside = pc.fill_null(pc.or_(pc.less(numbers, least), pc.greater(numbers, greatest)), fill_value=False)
    index = pc.index(outside, pa.scalar(True)).as_py()
    ends = "24:00" if pa.types.is_time64(array.type) else "infinity, BC or beyond 9999"
    raise _BadValueError(index, f"out of range ({ends})")


def _decimals(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    """Raises ValueError (ArrowInvalid is one) where a text is no such number, exactly."""
    longest = pc.max(pc.binary_length(texts)).as_py()
    if longest is None or longest <= SAFE_DIGITS:
        return pc.cast(texts, type_)
    with localcontext(Context(prec=PLACES, traps=[InexactError, InvalidOperation])):
        unit = Decimal(1).scaleb(-type_.scale)
        try:
            return pa.array(
                [None if text is None else Decimal(text).quantize(unit) for text in texts.to_pylist()], type_
            )
        except (InexactError, InvalidOperation) as error:
            raise ValueError("a number with more digits") from error


def _located(texts: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Cast, and on failure find the first text that fails by halving."""
    try:
        return cast(texts)
    except ValueError:
        start, end = 0, len(texts)
        while end - start > 1:
            middle = (start + end) // 2
            try:
                cast(texts.slice(start, middle - start))
            except ValueError:
                end = middle
            else:
                start = middle
        raise _BadValueError(start, texts[start].as_py()) from None


def _text(array: pa.Array, row: int) -> str:
    value = getattr(array, "storage", array)[row]
    try:
        text = str(value.as_py())
    except (ValueError, OverflowError):  # a key that is itself out of range
        text = "?"
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
