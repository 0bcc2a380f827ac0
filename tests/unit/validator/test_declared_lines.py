"""What one line means: the reference, value by value."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from contracts.pipelines import Column
from contracts.records import ColumnType
from services.validator.core.declared.lines import JudgedLine, judge_line

BAD = object()
ABSENT = object()


def judged(kind: ColumnType, value: Any, *, required: bool = False, nulls: bool = False) -> JudgedLine:
    """A line whose only declared column has this value, given as JSON text if it is bytes."""
    line = b"{}"
    if value is not ABSENT:
        line = b'{"x":' + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"}"
    return judge_line(line, {"x": Column(type=kind, required=required, on_error="null" if nulls else "quarantine")})


def local(year: int, *rest: int) -> datetime:
    """A timestamp without a zone."""
    return datetime(year, *rest)  # type: ignore[arg-type] # noqa: DTZ001 - floating on purpose


@pytest.mark.parametrize(
    ("kind", "value", "meaning"),
    [
        ("string", "", ""),
        ("string", "N/A", "N/A"),
        ("string", b'"\\u00e9 \\ud83d\\ude00"', "é 😀"),
        ("string", b"1.50e3", "1.50e3"),
        ("string", b"123456789012345678901234567890", "123456789012345678901234567890"),
        ("string", True, "true"),
        ("string", {"a": 1}, BAD),
        ("string", [], BAD),
        ("int64", "12", 12),
        ("int64", "-12", -12),
        ("int64", "+007", 7),
        ("int64", "-0", 0),
        ("int64", 5, 5),
        ("int64", str(2**63 - 1), 2**63 - 1),
        ("int64", str(-(2**63)), -(2**63)),
        ("int64", str(2**63), BAD),
        ("int64", "9" * 5_000, BAD),
        ("int64", "0" * 5_000 + "7", 7),
        ("int64", "", BAD),
        ("int64", " 5", BAD),
        ("int64", "5.0", BAD),
        ("int64", "1_0", BAD),
        ("int64", "٣", BAD),
        ("int64", True, BAD),
        ("int32", str(2**31 - 1), 2**31 - 1),
        ("int32", str(2**31), BAD),
        ("float64", "40.69926205992975", 40.69926205992975),
        ("float64", "-.5", -0.5),
        ("float64", "5.", 5.0),
        ("float64", "1e-3", 0.001),
        ("float64", b"12", 12.0),
        ("float64", "1e999", BAD),
        ("float64", "NaN", BAD),
        ("float64", "inf", BAD),
        ("float64", "1,5", BAD),
        ("float64", False, BAD),
        ("boolean", True, True),
        ("boolean", "False", False),
        ("boolean", "TRUE", True),
        ("boolean", 1, BAD),
        ("boolean", "yes", BAD),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "2023-02-29", BAD),
        ("date", "0000-01-01", BAD),
        ("date", "2024-02-29T00:00:00", BAD),
        ("timestamp_us", "2025-02-21T09:08:07.120", local(2025, 2, 21, 9, 8, 7, 120_000)),
        ("timestamp_us", "1899-12-31T00:00:00", local(1899, 12, 31)),
        ("timestamp_us", "3027-01-01T00:00:00.000001", local(3027, 1, 1, 0, 0, 0, 1)),
        ("timestamp_us", "0001-01-01T00:00:00", local(1, 1, 1)),
        ("timestamp_us", "2025-03-09T02:30:00.000", local(2025, 3, 9, 2, 30)),
        ("timestamp_us", "2025-02-21T09:08:07.1234567", BAD),
        ("timestamp_us", "2025-02-21T09:08:07Z", BAD),
        ("timestamp_us", "2025-02-21 09:08:07", BAD),
        ("timestamp_us", "2025-02-21", BAD),
        ("timestamp_us", "2025-02-21T24:00:00", BAD),
        ("timestamp_us", 20250221, BAD),
        ("timestamp_us_utc", "2025-02-21T09:08:07.5Z", datetime(2025, 2, 21, 9, 8, 7, 500_000, UTC)),
        ("timestamp_us_utc", "2025-02-21T09:08:07-05:30", datetime(2025, 2, 21, 14, 38, 7, tzinfo=UTC)),
        ("timestamp_us_utc", "2025-02-21T09:08:07", BAD),
        ("timestamp_us_utc", "2025-02-21T09:08:07+05:60", BAD),
        ("timestamp_us_utc", "2025-02-21T09:08:07+24:00", BAD),
        ("timestamp_us_utc", "9999-12-31T23:59:59-01:00", BAD),
    ],
)
def test_a_value_is_read_by_its_column_or_not_at_all(kind: ColumnType, value: Any, meaning: Any) -> None:
    """What is not of the column's type costs its row, or becomes null and is counted, as the column says."""
    strict, lenient = judged(kind, value), judged(kind, value, nulls=True)
    if meaning is BAD:
        assert (strict.row, strict.reason, lenient.row, lenient.nulled) == (None, "invalid-value", {"x": None}, ("x",))
        (error,) = strict.errors
        assert (error["type"], error["loc"]) == (kind, ["x"])
        assert error["msg"].startswith("must ")
    else:
        assert strict.row == lenient.row == {"x": meaning}
        assert type(strict.row["x"]) is type(meaning)
        assert not strict.nulled


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ({"type": "Point", "coordinates": [-73.76, 40.69]}, (40.69, -73.76)),
        ({"type": "Point", "coordinates": ["-73.76", "40.69"]}, (40.69, -73.76)),
        ({"latitude": "40.69", "longitude": "-73.76", "human_address": '{"city": ""}'}, (40.69, -73.76)),
        ({"latitude": 90, "longitude": -180, "needs_recoding": False}, (90.0, -180.0)),
        ({"human_address": "{}"}, None),
        ({"latitude": None, "longitude": None}, None),
        ({"type": "Point", "coordinates": [None, None]}, None),
        ({}, None),
        ({"latitude": "40.69"}, BAD),
        ({"latitude": "", "longitude": ""}, BAD),
        ({"latitude": "90.5", "longitude": "0"}, BAD),
        ({"type": "Point", "coordinates": [-180.5, 0]}, BAD),
        ({"type": "Point", "coordinates": [1, 2, 3]}, BAD),
        ({"type": "Polygon", "coordinates": [1, 2]}, BAD),
        ({"type": "Point"}, BAD),
        ("(40.69, -73.76)", BAD),
        ([40.69, -73.76], BAD),
    ],
)
def test_a_point_is_read_in_both_of_its_forms(value: Any, meaning: Any) -> None:
    """GeoJSON has longitude first; a point has both numbers or is none."""
    line = judged("point", value)
    if meaning is BAD:
        assert (line.row, line.reason) == (None, "invalid-value")
    else:
        point = None if meaning is None else {"latitude": meaning[0], "longitude": meaning[1]}
        assert line.row == {"x": point}


@pytest.mark.parametrize("value", [ABSENT, None])
def test_an_absent_value_is_null_and_costs_the_row_where_it_is_required(value: Any) -> None:
    """Sources leave out what they have no value for; a column may insist."""
    assert judged("int64", value).row == {"x": None}
    line = judged("int64", value, required=True)
    assert (line.row, line.reason, line.errors[0]["loc"]) == (None, "missing-required", ["x"])


def test_a_bad_value_of_a_required_column_is_never_nulled() -> None:
    """Else the row would lack what it must have."""
    line = judged("int64", "many", required=True, nulls=True)
    assert (line.row, line.reason) == (None, "invalid-value")


def test_a_point_without_coordinates_does_not_meet_a_requirement() -> None:
    """It is there, and still no value."""
    assert judged("point", {"human_address": ""}, required=True).reason == "missing-required"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"\r",
        b"null",
        b"[]",
        b'"x"',
        b'{"x":1',
        b'{"x":1}}',
        b'{"x":1},',
        b"{'x':1}",
        b'{"x":01}',
        b'{"x":NaN}',
        b'{"x":-Infinity}',
        b'{"x":"a\tb"}',
        b'{"x":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"x":"\xff"}',
        b'{"x":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"x":1}',
        b'{"y":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_malformed(line: bytes) -> None:
    """Whatever the bytes are, they are one finding with an error that can be kept as JSON."""
    found = judge_line(line, {"x": Column(type="string")})
    assert (found.row, found.reason, found.unknown) == (None, "malformed-json", frozenset())
    assert len(json.loads(json.dumps(found.errors))[0]["input"]) <= 200


def test_whitespace_around_tokens_is_part_of_no_value() -> None:
    """Also the carriage return of a line that another system ended its own way."""
    assert judge_line(b' { "x" : "a b" } \r', {"x": Column(type="string")}).row == {"x": "a b"}


def test_of_a_member_that_stands_twice_the_last_one_counts() -> None:
    """As most readers of JSON have it."""
    assert judge_line(b'{"x":"a","x":"b"}', {"x": Column(type="string")}).row == {"x": "b"}


def test_all_that_is_wrong_is_told_in_the_order_of_the_columns() -> None:
    """The first of them names the reason; values are cut to a length that can be read."""
    columns = {name: Column(type="int64", required=name == "b") for name in "abc"}
    line = judge_line(json.dumps({"a": "x" * 500, "c": {"deep": [1]}}).encode(), columns)
    assert line.reason == "invalid-value"
    assert [(error["loc"], error["type"]) for error in line.errors] == [
        (["a"], "int64"),
        (["b"], "missing"),
        (["c"], "int64"),
    ]
    assert line.errors[0]["input"] == "x" * 200


def test_undeclared_members_are_told_also_of_a_bad_row() -> None:
    """Drift shows in every line that can be read; members inside of values are not the source's columns."""
    columns = {"x": Column(type="int64")}
    assert judge_line(b'{"x":"bad","new":1,"":{"inner":2}}', columns).unknown == {"new", ""}
