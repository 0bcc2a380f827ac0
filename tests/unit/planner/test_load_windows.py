"""Windows, labels and sizes of loads, and how columns may change between two of them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from contracts.fields import EntityField
from contracts.loads import START_OF_TIME, Slice
from contracts.runs import LoadType
from contracts.sources import EntitySource
from services.planner.core.evolution import Change, change_between, widens
from services.planner.core.loads import cursor_of, label_of_slice, load_type_of, parts_of, window_of_load
from services.runtime.failures import MalformedError, PermanentError
from services.runtime.watermarks import Watermark
from tests.unit.planner.landing import entity, of_api

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def standing(cursor: str | None) -> Watermark:
    """A watermark at this cursor."""
    return Watermark("shop.orders#orders", cursor, 3, "r0", "2026-01-01T00:00:00+00:00")


def table(**source: object) -> EntitySource:
    """The source of an entity in a table."""
    source_ = entity("orders", **source).source
    assert isinstance(source_, EntitySource)
    return source_


def test_cursors_have_26_characters() -> None:
    """They are UTC, to the microsecond, and compare as text with the start of time."""
    assert cursor_of(NOON) == "2026-01-01T12:00:00.000000"
    east = datetime(2026, 1, 1, 14, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert cursor_of(east) == "2026-01-01T12:00:00.000001"
    assert cursor_of(datetime(1970, 1, 1, tzinfo=UTC)) > START_OF_TIME


@pytest.mark.parametrize("watermark", [None, standing(None)])
def test_a_load_without_a_watermark_is_full(watermark: Watermark | None) -> None:
    """Also where an operator reset the watermark; a sweep of keys needs none."""
    assert load_type_of(LoadType.INCREMENTAL, watermark) is LoadType.FULL
    assert load_type_of(LoadType.KEYS, watermark) is LoadType.KEYS
    assert load_type_of(LoadType.INCREMENTAL, standing("2026-01-01T00:00:00.000000")) is LoadType.INCREMENTAL


@pytest.mark.parametrize(
    ("cursor", "is_empty"),
    [
        ("2026-01-01T11:59:59.999999", False),
        ("2026-01-01T12:00:00.000000", True),
        ("2026-01-01T12:00:00.000001", True),
    ],
)
def test_nothing_to_read(cursor: str, *, is_empty: bool) -> None:
    """Where the ceiling is not above the watermark, and then nothing is claimed."""
    window = window_of_load(table(overlap_seconds=5), LoadType.INCREMENTAL, standing(cursor), NOON)
    assert (window.is_empty, window.frontier is None) == (is_empty, is_empty)


def test_a_full_load_covers_what_is_proven() -> None:
    """Readers forget what came before it: it never ends below the watermark, however low the ceiling is by now."""
    window = window_of_load(table(), LoadType.FULL, standing("2027-01-01T00:00:00.000000"), NOON)
    assert (window.start, window.whole, window.is_empty) == (START_OF_TIME, True, False)
    assert window.end == window.frontier == "2027-01-01T00:00:00.000000"
    assert window_of_load(table(), LoadType.FULL, None, NOON).end == "2026-01-01T12:00:00.000000"


def test_an_api_s_frontier_never_goes_back() -> None:
    """Neither behind the watermark nor before the start of time."""
    source = of_api("payments", lag_seconds=10**9).source
    assert isinstance(source, EntitySource)
    last = "2026-01-01T11:00:00.000000"
    assert window_of_load(source, LoadType.INCREMENTAL, standing(last), NOON).frontier == last
    source = of_api("payments", lag_seconds=10**12).source
    assert isinstance(source, EntitySource)
    assert window_of_load(source, LoadType.FULL, None, NOON).frontier == START_OF_TIME


def test_a_watermark_that_is_no_timestamp() -> None:
    """The error shows it."""
    with pytest.raises(MalformedError, match="cursor 'later' is no UTC timestamp"):
        window_of_load(table(overlap_seconds=1), LoadType.INCREMENTAL, standing("later"), NOON)


def test_labels_are_for_people() -> None:
    """The window, and the keys where it is cut."""
    window = Slice(start="a", end="b")
    assert label_of_slice(window) == "a until b"
    cut = window.model_copy(update={"after": ["1", "x"], "upto": ["2", "y"]})
    assert label_of_slice(cut) == "a until b, keys after 1, x up to 2, y"


@pytest.mark.parametrize(
    ("rows", "row_bytes", "parts"),
    [(1, 10, 1), (250_000, 10, 4), (80_000, 10, 1), (80_001, 10, 4), (1_000_001, 10, 5), (100, 1e9, 100)],
)
def test_how_many_slices(rows: int, row_bytes: float, parts: int) -> None:
    """Bounded in rows and in bytes; four where there are rows enough for four fetchers."""
    assert parts_of(rows, segment_rows=250_000, segment_bytes=64 * 1024 * 1024, row_bytes=row_bytes) == parts


WIDER = [
    ("int16", "int32"),
    ("int16", "int64"),
    ("int32", "int64"),
    ("float32", "float64"),
    ("decimal(9,2)", "decimal(12,2)"),
    ("decimal(9,2)", "decimal(10,3)"),
    ("int16", "decimal(5,0)"),
    ("int32", "decimal(12,2)"),
    ("int64", "decimal(38,18)"),
    ("list<int16>", "list<int64>"),
    ("list<decimal(5,1)>", "list<decimal(6,2)>"),
]
NOT_WIDER = [
    ("int64", "int32"),
    ("int32", "float64"),
    ("float64", "float32"),
    ("float64", "decimal(38,18)"),
    ("decimal(9,2)", "decimal(9,3)"),
    ("decimal(9,2)", "decimal(12,1)"),
    ("decimal(9,0)", "int64"),
    ("int32", "decimal(11,2)"),
    ("int64", "decimal(38,20)"),
    ("date", "timestamp_us"),
    ("timestamp_us", "timestamp_us_utc"),
    ("int32", "string"),
    ("int32", "list<int32>"),
    ("list<int32>", "string"),
    ("list<string>", "list<int32>"),
]


@pytest.mark.parametrize(("before", "now"), WIDER)
def test_what_is_wider(before: str, now: str) -> None:
    """Every old value is a value of the new type; never the other way round."""
    assert widens(before, now)
    assert not widens(now, before)
    assert change_between([_field("a", before)], [_field("a", now)]) == Change(widened=("a",))


@pytest.mark.parametrize(("before", "now"), NOT_WIDER)
def test_what_is_not_wider(before: str, now: str) -> None:
    """The change is refused, and counts as dropped and added where it is taken all the same."""
    change = change_between([_field("a", before)], [_field("a", now)])
    with pytest.raises(PermanentError, match=r"column 'a' was .* and is .*: .* \{\"load_type\": \"FULL\"\}"):
        change.require_compatible()
    assert change.of_names == (["a"], [], ["a"])


def test_order_and_names_of_types_are_no_change() -> None:
    """Nor is a column that the source calls otherwise by now."""
    a, b = _field("a", "string"), _field("b", "int32")
    assert change_between([a, b], [b, a.model_copy(update={"source_type": "citext"})]) == Change()
    assert change_between([a], [b]).of_names == (["b"], [], ["a"])


def _field(name: str, type_: str) -> EntityField:
    return EntityField(name=name, type=type_)
