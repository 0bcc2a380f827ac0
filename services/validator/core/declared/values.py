"""What a JSON value means as a value of a declared column; the reference for every type."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from contracts.records import ColumnType

SHOWN = 200
"""Characters of a bad value that an error repeats."""
LATITUDE = 90.0
LONGITUDE = 180.0
"""Greatest distance from zero, degrees."""
AXES = 2
"""Coordinates of a point; one with an altitude would lose it."""

_INTEGER = re.compile(r"[+-]?0*([0-9]+)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))?",
    re.ASCII,
)
_LONGEST_INTEGER = 19
"""Digits of the longest number that can fit 64 bits."""
_MINUTES = 60


class Number(str):
    """A JSON number as it was written, so that nothing of it is lost."""

    __slots__ = ()


class BadValueError(ValueError):
    """A value is not of its column's type; the text says what it should have been."""


def read(kind: ColumnType, value: Any) -> Any:
    """The value as the column holds it; None where it means that there is none.

    Args:
        kind: type of the column.
        value: parsed JSON, numbers as ``Number``; never None.

    Raises:
        BadValueError: it is not of that type.
    """
    return _READERS[kind](value)


def shown(value: Any) -> str:
    """A bad value for an error: text as it is, everything else as JSON, cut at ``SHOWN`` characters."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # writing needs a little more of the stack than reading did
        text = "nested too deeply to be shown"
    return str(text[:SHOWN])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    raise BadValueError("must be text, not an object or a list")


def _integer(value: Any, bits: int) -> int:
    found = _INTEGER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValueError("must be an integer: digits with or without a sign")
    # Python refuses to read numbers of thousands of digits, and none of them fits.
    number = int(value[0] + found[1] if value[0] in "+-" else found[1]) if len(found[1]) <= _LONGEST_INTEGER else None
    if number is None or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise BadValueError(f"must fit {bits} bits")
    return number


def _decimal(value: Any) -> float:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise BadValueError("must be a decimal number")
    number = float(value)
    if not math.isfinite(number):
        raise BadValueError("must fit a 64-bit floating-point number")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Number) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise BadValueError("must be true or false")


def _date(value: Any) -> date:
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValueError("must be a date, YYYY-MM-DD")
    try:
        return date(*map(int, found.groups()))
    except ValueError as error:
        raise BadValueError(f"must be a date of the calendar: {error}") from error


def _floating(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise BadValueError("must be a local timestamp, YYYY-MM-DDTHH:MM:SS, without a zone")
    return moment


def _utc(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is None:
        raise BadValueError("must be a timestamp with its zone, YYYY-MM-DDTHH:MM:SSZ")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise BadValueError("must lie in the years 1 to 9999 once brought to UTC") from error


def _moment(value: Any) -> datetime:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValueError("must be a timestamp, YYYY-MM-DDTHH:MM:SS with at most six decimals")
    *fields, fraction, zulu, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, fields)
    try:
        zone = UTC if zulu else None
        if sign:
            offset = timedelta(hours=int(hours), minutes=_minutes(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month, day, hour, minute, second, int((fraction or "").ljust(6, "0")), zone)
    except ValueError as error:
        raise BadValueError(f"must be a moment of the calendar: {error}") from error


def _minutes(text: str) -> int:
    if int(text) >= _MINUTES:
        raise ValueError("minutes of an offset must be in 0..59")
    return int(text)


def _point(value: Any) -> Mapping[str, float] | None:
    if not isinstance(value, dict):
        raise BadValueError("must be a point: an object")
    latitude, longitude = _degrees(value)
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise BadValueError("must have both latitude and longitude, or neither")
    try:
        point = {"latitude": _decimal(latitude), "longitude": _decimal(longitude)}
    except BadValueError as error:
        raise BadValueError(f"latitude and longitude: {error}") from error
    if abs(point["latitude"]) > LATITUDE or abs(point["longitude"]) > LONGITUDE:
        raise BadValueError("must lie within 90 degrees of latitude and 180 of longitude")
    return point


def _degrees(value: Mapping[str, Any]) -> tuple[Any, Any]:
    """Latitude and longitude of GeoJSON, which has them the other way round, or of the older form."""
    if "coordinates" not in value and "type" not in value:
        return value.get("latitude"), value.get("longitude")
    coordinates = value.get("coordinates")
    if value.get("type") != "Point" or not isinstance(coordinates, list) or len(coordinates) != AXES:
        raise BadValueError("must be a GeoJSON point: its type Point, its coordinates longitude and latitude")
    longitude, latitude = coordinates
    return latitude, longitude


_READERS: Mapping[ColumnType, Callable[[Any], Any]] = MappingProxyType(
    {
        "string": _text,
        "int32": lambda value: _integer(value, 32),
        "int64": lambda value: _integer(value, 64),
        "float64": _decimal,
        "boolean": _boolean,
        "date": _date,
        "timestamp_us": _floating,
        "timestamp_us_utc": _utc,
        "point": _point,
    }
)
