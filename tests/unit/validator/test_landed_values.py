"""Values of records: what each field type takes, and what it refuses."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from services.validator.core.declared.lines import parse
from services.validator.core.declared.values import BadValueError
from services.validator.core.landed.values import reader_of


def read(type_: str, text: str) -> Any:
    """What a JSON text means as a value of a type."""
    return reader_of(type_)(parse(f'{{"v":{text}}}'.encode())["v"])


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("string", '""', ""),
        ("string", '"1\\u00fc\\u0000"', "1ü\0"),
        ("int16", "-32768", -(2**15)),
        ("int32", "2147483647", 2**31 - 1),
        ("int64", "-9223372036854775808", -(2**63)),
        ("int64", "-0", 0),
        ("float64", "0.1", 0.1),
        ("float64", "1e308", 1e308),
        ("float64", "7", 7.0),
        ("float32", "1.5", 1.5),
        ("decimal(6,2)", "9.5", Decimal("9.50")),
        ("decimal(6,2)", "9.5000", Decimal("9.50")),
        ("decimal(6,2)", "-9999.99", Decimal("-9999.99")),
        ("decimal(6,2)", '"0001234.5e-1"', Decimal("123.45")),
        ("decimal(6,2)", "12e2", Decimal("1200.00")),
        ("decimal(6,2)", '"+1234.50"', Decimal("1234.50")),
        ("decimal(6,2)", "0e999999999", Decimal("0.00")),
        ("decimal(6,2)", "-0.0", Decimal("0.00")),
        ("decimal(38,38)", f"-0.{'9' * 38}", Decimal(f"-0.{'9' * 38}")),
        ("decimal(38,0)", "9" * 38, Decimal("9" * 38)),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("date", '"2024-02-29"', date(2024, 2, 29)),
        ("time_us", '"23:59:59.1234560"', time(23, 59, 59, 123_456)),
        ("timestamp_us", '"0001-01-01T00:00:00"', datetime(1, 1, 1)),  # noqa: DTZ001
        ("timestamp_us", '"2025-01-02 03:04:05.5"', datetime(2025, 1, 2, 3, 4, 5, 500_000)),  # noqa: DTZ001
        ("timestamp_us_utc", '"2025-01-02T03:04:05.123456000Z"', datetime(2025, 1, 2, 3, 4, 5, 123_456, UTC)),
        ("timestamp_us_utc", '"2025-01-02T03:04:05"', datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("timestamp_us_utc", '"2025-01-02T03:04:05+05:30"', datetime(2025, 1, 1, 21, 34, 5, tzinfo=UTC)),
        ("timestamp_us_utc", '"2025-01-02T03:04:05-0130"', datetime(2025, 1, 2, 4, 34, 5, tzinfo=UTC)),
        ("timestamp_us_utc", '"2025-01-02T03:04:05+01"', datetime(2025, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("binary", '"/wA="', b"\xff\0"),
        ("binary", '""', b""),
        ("list<int16>", "[1,null,-2]", [1, None, -2]),
        ("list<decimal(3,1)>", '[1.5,"2"]', [Decimal("1.5"), Decimal("2.0")]),
        ("list<date>", "[]", []),
    ],
)
def test_a_value_is_exactly_what_is_written(type_: str, text: str, value: Any) -> None:
    """At the ends of each range, and in each way of writing that is the same value."""
    found = read(type_, text)
    assert found == value
    assert type(found) is type(value)
    assert not isinstance(value, Decimal) or found.as_tuple().exponent == value.as_tuple().exponent


@pytest.mark.parametrize(
    ("type_", "text", "message"),
    [
        ("string", "1", "must be a string"),
        ("string", "true", "must be a string"),
        ("string", '["a"]', "must be a string"),
        ("int16", "32768", "must fit 16 bits"),
        ("int64", "9" * 5_000, "must fit 64 bits"),
        ("int32", "1.0", "must be a whole number"),
        ("int32", "1e2", "must be a whole number"),
        ("int32", '"1"', "must be a whole number"),
        ("int32", "true", "must be a whole number"),
        ("float64", "1e309", "must fit a 64-bit floating-point number"),
        ("float64", '"1.5"', "must be a number"),
        ("float64", "false", "must be a number"),
        ("float32", "1e39", "must fit a 32-bit floating-point number"),
        ("decimal(6,2)", "1.001", "must have at most 2 digits after the point"),
        ("decimal(6,2)", "12345", "must have at most 4 digits before the point"),
        ("decimal(6,2)", "1e6", "must have at most 4 digits before the point"),
        ("decimal(6,2)", "1e999999", "must have at most 4 digits before the point"),
        ("decimal(6,2)", "1e-999999", "must have at most 2 digits after the point"),
        ("decimal(6,2)", "1e99999999999999999999", "must be a decimal number of a size that the field can hold"),
        ("decimal(6,2)", '"NaN"', "must be a decimal number"),
        ("decimal(6,2)", '"1,5"', "must be a decimal number"),
        ("decimal(6,2)", '""', "must be a decimal number"),
        ("decimal(6,2)", "true", "must be a decimal number"),
        ("boolean", "1", "must be true or false"),
        ("boolean", '"true"', "must be true or false"),
        ("date", '"2025-02-29"', "must be a date of the calendar: "),
        ("date", '"2025-02-28T00:00:00"', "must be a date, YYYY-MM-DD"),
        ("date", "20250228", "must be a date, YYYY-MM-DD"),
        ("time_us", '"24:00:00"', "must be a time of day: "),
        ("time_us", '"12:00:00.0000001"', "must be exact to the microsecond"),
        ("timestamp_us", '"2025-01-02T03:04:05Z"', "must be a timestamp without a zone, YYYY-MM-DDTHH:MM:SS"),
        ("timestamp_us", '"2025-01-02"', "must be a timestamp, YYYY-MM-DDTHH:MM:SS"),
        ("timestamp_us", "1735787045", "must be a timestamp, YYYY-MM-DDTHH:MM:SS"),
        ("timestamp_us_utc", '"2025-01-02T03:04:05.1234567Z"', "must be exact to the microsecond"),
        ("timestamp_us_utc", '"2025-01-02T03:04:60Z"', "must be a moment of the calendar: "),
        ("timestamp_us_utc", '"2025-01-02T03:04:05+01:60"', "must be a moment of the calendar: "),
        ("timestamp_us_utc", '"0001-01-01T00:00:00+01:00"', "must lie in the years 1 to 9999 once brought to UTC"),
        ("binary", '"a"', "must be base64 text: "),
        ("binary", '"a b="', "must be base64 text: "),
        ("binary", '"ü"', "must be base64 text: "),
        ("binary", "1", "must be base64 text"),
        ("list<int16>", "1", "must be a list"),
        ("list<int16>", '{"a":1}', "must be a list"),
        ("list<int16>", '[1,"a"]', "item 1: must be a whole number"),
        ("list<string>", '["a",["b"]]', "item 1: must be a string"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_an_error(type_: str, text: str, message: str) -> None:
    """It says what there should have been; nothing is cut, rounded or guessed."""
    with pytest.raises(BadValueError) as caught:
        read(type_, text)
    assert str(caught.value).startswith(message)
