"""What a JSON value means as a value of a field: exactly that value, or an error."""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from contracts.fields import TypeParts
from services.validator.core.declared.values import BadValueError, Number

Reader = Callable[[Any], Any]
"""Takes parsed JSON, numbers as ``Number``, never None; raises BadValueError."""

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
_CALENDAR_DAY = re.compile(_DATE, re.ASCII)
_TIME_OF_DAY = re.compile(_TIME, re.ASCII)
_MOMENT = re.compile(rf"{_DATE}[T ]{_TIME}(?:(Z)|([+-])([0-9]{{2}})(?::?([0-9]{{2}}))?)?", re.ASCII)
_LONGEST_INTEGER = 20
"""Characters of the longest text of a number of 64 bits."""
_LONGEST_EXPONENT = 6
"""Digits of an exponent beyond which no number fits any type, unless it is zero."""
_MICROSECOND_DIGITS = 6
_MINUTES = 60


def reader_of(type_: str) -> Reader:
    """The reader of a field type."""
    parts = TypeParts.of(type_)
    if parts.name == "decimal":
        return _decimal_reader(parts.precision, parts.scale)
    if parts.item is not None:
        return _list_reader(reader_of(parts.item))
    return _READERS[parts.name]


def _text(value: Any) -> str:
    if isinstance(value, Number) or not isinstance(value, str):
        raise BadValueError("must be a string")
    return value


def _integer_reader(bits: int) -> Reader:
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1

    def read(value: Any) -> int:
        if not isinstance(value, Number) or not _INTEGER.fullmatch(value):
            raise BadValueError("must be a whole number")
        number = int(value) if len(value) <= _LONGEST_INTEGER else most + 1
        if not least <= number <= most:
            raise BadValueError(f"must fit {bits} bits")
        return number

    return read


def _float64(value: Any) -> float:
    if not isinstance(value, Number):
        raise BadValueError("must be a number")
    number = float(value)
    if not math.isfinite(number):
        raise BadValueError("must fit a 64-bit floating-point number")
    return number


def _float32(value: Any) -> float:
    number = _float64(value)
    try:
        struct.pack("<f", number)
    except OverflowError as error:
        raise BadValueError("must fit a 32-bit floating-point number") from error
    return number


def _decimal_reader(precision: int, scale: int) -> Reader:
    most = precision - scale

    def read(value: Any) -> Decimal:
        found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise BadValueError("must be a decimal number")
        sign, digits, places = _digits(value, found)
        if places > scale:
            raise BadValueError(f"must have at most {scale} digits after the point")
        if len(digits) - places > most:
            raise BadValueError(f"must have at most {most} digits before the point")
        unscaled = digits + "0" * (scale - places)
        return Decimal((sign, tuple(map(int, unscaled or "0")), -scale))

    return read


def _digits(text: str, found: re.Match[str]) -> tuple[int, str, int]:
    """Sign (1: negative), digits and how many of them come after the point, without zeros that change nothing."""
    whole, _, fraction = found[1].partition(".")
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return 0, "", 0
    exponent = found[2] or "0"
    if len(exponent.lstrip("+-0")) > _LONGEST_EXPONENT:
        raise BadValueError("must be a decimal number of a size that the field can hold")
    return int(text[0] == "-"), kept, len(fraction) - int(exponent) - (len(digits) - len(kept))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadValueError("must be true or false")
    return value


def _date(value: Any) -> date:
    found = _CALENDAR_DAY.fullmatch(_text_of(value, "a date, YYYY-MM-DD"))
    if found is None:
        raise BadValueError("must be a date, YYYY-MM-DD")
    try:
        return date(*map(int, found.groups()))
    except ValueError as error:
        raise BadValueError(f"must be a date of the calendar: {error}") from error


def _time(value: Any) -> time:
    found = _TIME_OF_DAY.fullmatch(_text_of(value, "a time of day, HH:MM:SS"))
    if found is None:
        raise BadValueError("must be a time of day, HH:MM:SS")
    micros = _micros(found[4])
    try:
        return time(int(found[1]), int(found[2]), int(found[3]), micros)
    except ValueError as error:
        raise BadValueError(f"must be a time of day: {error}") from error


def _local(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise BadValueError("must be a timestamp without a zone, YYYY-MM-DDTHH:MM:SS")
    return moment


def _utc(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise BadValueError("must lie in the years 1 to 9999 once brought to UTC") from error


def _moment(value: Any) -> datetime:
    found = _MOMENT.fullmatch(_text_of(value, "a timestamp, YYYY-MM-DDTHH:MM:SS"))
    if found is None:
        raise BadValueError("must be a timestamp, YYYY-MM-DDTHH:MM:SS")
    *fields, fraction, zulu, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, fields)
    micros = _micros(fraction)
    try:
        zone = UTC if zulu else None
        if sign:
            offset = timedelta(hours=int(hours), minutes=_minutes(minutes or "0"))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month, day, hour, minute, second, micros, zone)
    except ValueError as error:
        raise BadValueError(f"must be a moment of the calendar: {error}") from error


def _micros(fraction: str | None) -> int:
    """Microseconds of a fraction of a second; what is finer would be lost, so it must be nothing.

    Raises:
        BadValueError: it is not.
    """
    digits = fraction or ""
    if digits[_MICROSECOND_DIGITS:].strip("0"):
        raise BadValueError("must be exact to the microsecond")
    return int(digits[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0"))


def _minutes(text: str) -> int:
    if int(text) >= _MINUTES:
        raise ValueError("minutes of an offset must be in 0..59")
    return int(text)


def _binary(value: Any) -> bytes:
    try:
        return base64.b64decode(_text_of(value, "base64 text"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadValueError(f"must be base64 text: {error}") from error


def _text_of(value: Any, what: str) -> str:
    if isinstance(value, Number) or not isinstance(value, str):
        raise BadValueError(f"must be {what}")
    return value


def _list_reader(read: Reader) -> Reader:
    def read_all(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise BadValueError("must be a list")
        items = []
        for number, item in enumerate(value):
            try:
                items.append(None if item is None else read(item))
            except BadValueError as error:
                raise BadValueError(f"item {number}: {error}") from error
        return items

    return read_all


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "string": _text,
        "binary": _binary,
        "boolean": _boolean,
        "int16": _integer_reader(16),
        "int32": _integer_reader(32),
        "int64": _integer_reader(64),
        "float32": _float32,
        "float64": _float64,
        "date": _date,
        "time_us": _time,
        "timestamp_us": _local,
        "timestamp_us_utc": _utc,
    }
)
