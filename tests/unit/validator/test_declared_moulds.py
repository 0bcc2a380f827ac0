"""The fast path, case by case: what it certifies, and what it must leave to the reference."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.pipelines import Column
from services.runtime.declarations import load_pipeline
from services.runtime.settings import PROJECT
from services.validator.core.declared.certify import Certifier
from services.validator.core.declared.judge import RowJudge, judge_by_line

RECORDS = PROJECT.parent / "shared" / "data" / "nyc311"
NYC_311 = load_pipeline(PROJECT / "pipelines" / "nyc_311.toml")
COLUMNS = {
    "id": Column(type="string", required=True),
    "at": Column(type="timestamp_us", on_error="null"),
    "n": Column(type="int64", on_error="null"),
    "price": Column(type="float64"),
    "day": Column(type="date"),
    "open": Column(type="boolean"),
    "seen": Column(type="timestamp_us_utc"),
    "place": Column(type="point"),
}
ROW: dict[str, Any] = {
    "id": "a",
    "at": "2025-02-21T09:08:07.000",
    "n": "5",
    "price": "1.5",
    "day": "2024-02-29",
    "open": True,
    "seen": "2025-02-21T09:08:07.25-05:00",
    "place": {"latitude": "40.5", "longitude": "-73.5", "human_address": '{"city": ""}'},
    "tags": ["x", "y", 1.5, None],
}


def text(row: dict[str, Any], comma: str = ",", colon: str = ":") -> bytes:
    """A row as one line."""
    return json.dumps(row, separators=(comma, colon), ensure_ascii=False).encode()


def certified(lines: Sequence[bytes], columns: dict[str, Column] = COLUMNS) -> list[int]:
    """Positions of the lines that the fast path vouches for, after both ways were found to agree on all of them."""
    ours = RowJudge(columns, smallest_pass=1, smallest_mould=1).judge(lines)
    theirs = judge_by_line(lines, range(len(lines)), columns)
    assert ours.frame.equals(theirs.frame)
    assert (ours.indexes.to_list(), ours.bad) == (theirs.indexes.to_list(), theirs.bad)
    assert (ours.nulled, ours.unknown) == (theirs.nulled, theirs.unknown)
    return Certifier(columns, smallest_pass=1, smallest_mould=1).certify(lines).indexes.to_list()


@pytest.mark.parametrize(("comma", "colon"), [(",", ":"), (", ", ": ")])
def test_ordinary_rows_are_certified_in_either_spacing(comma: str, colon: str) -> None:
    """Rows of one program differ in their values only, and that is all the fast path asks."""
    rows = [ROW, {**ROW, "id": "Zürich, N/A"}, {**ROW, "open": False, "n": "-7"}, {"id": "b"}, {"id": "c", "n": 12}]
    assert certified([text(row, comma, colon) for row in rows]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"id": 'a quote " inside'},
        {"id": "a tab \t inside"},
        {"id": "half a pair \ud800"},
        {"id": '","n":"6'},
        {"id": {"no": "text"}},
        {"id": None},
        {"at": "2023-02-30T00:00:00.000"},
        {"at": "2025-02-21T09:08:07.0000001"},
        {"at": "0999-02-21T09:08:07.000"},
        {"n": "5.0"},
        {"n": "9" * 19},
        {"price": "1e3"},
        {"price": "NaN"},
        {"day": "2023-02-29"},
        {"open": "yes"},
        {"seen": "2025-02-21T09:08:07"},
        {"seen": "9999-12-31T23:59:59-01:00"},
        {"place": {"latitude": "90.5", "longitude": "-73.5", "human_address": ""}},
        {"place": {"latitude": "40.5", "longitude": None, "human_address": ""}},
        {"place": {"type": "Line", "coordinates": [1.5, 2.5]}},
    ],
)
def test_a_row_with_an_uncommon_value_is_left_to_the_reference(change: dict[str, Any]) -> None:
    """Its neighbours are certified all the same."""
    odd = json.dumps({**ROW, **change}, separators=(",", ":")).encode()
    assert certified([text(ROW), odd, text({**ROW, "id": "z"})]) == [0, 2]


@pytest.mark.parametrize(
    ("good", "edit"),
    [
        ('"id":"a"', '"id":"a\x01"'),
        ('"id":"a"', '"id":"a"b"'),
        ('"id":"a"', '"id":"a\\"'),
        ('"id":"a"', '"id" :"a"'),
        ('"id":"a"', '"id":"a","id":"b"'),
        ('"id":"a"', '"ID":"a"'),
        ('"id":"a",', ""),
        ('{"id"', '[{"id"'),
        ("]}", "]}}"),
        ("]}", "]"),
        ('"n":"5"', '"n":5'),
        ('"n":"5"', '"n":05'),
        ('"n":"5"', '"n":"5",'),
        ('"n":"5"', '"n":"5"}{'),
        ("true", "True"),
        ("true", "tru"),
        ("1.5,null", "1.5,,null"),
        ("1.5,null", "01.5,null"),
        ('{\\"city', "{\\x"),
        ('{\\"city', '{"city'),
        ('{\\"city', "{\\ud800"),
    ],
)
def test_an_edited_copy_of_a_good_line_does_not_profit_from_its_mould(good: str, edit: str) -> None:
    """Every character outside of the values counts, and inside of them every one that JSON forbids."""
    line = text(ROW).decode()
    assert good in line
    assert {0, 2} <= set(certified([line.encode(), line.replace(good, edit, 1).encode(), line.encode()]))


def test_the_end_of_a_stencil_may_not_overlap_its_beginning() -> None:
    """A value between two texts that share a character must not be read from a piece that has it once."""
    columns = {"id": Column(type="string")}
    assert certified([b'{"id":"a"}', b'{"id":"}', b'{"id":""}'], columns) == [0, 2]


def test_pieces_without_a_place_of_their_own_are_not_certified() -> None:
    """Texts in a list look alike; if one of them could stand for another, nothing would be proven."""
    rows = [{"id": "a", "tags": ["w", "x", "y", "z"]}, {"id": "b", "tags": ["w", "y", "x", "z"]}]
    assert certified([text(row) for row in rows]) == []


def test_kinds_of_rows_that_look_the_same_at_first_are_told_apart() -> None:
    """Keys with the same first letters are tried on one mould after the other."""
    columns = {"id": Column(type="string"), "cross": Column(type="string"), "city": Column(type="string")}
    lines = [text({"id": "1", "cross": "x"}), text({"id": "2", "city": "y"}), text({"id": "3", "child": "z"})]
    assert certified(lines * 3, columns) == list(range(9))


def test_rows_without_any_declared_member_are_rows() -> None:
    """Where nothing is required, even an empty object is one; each keeps its place."""
    columns = {"fits": Column(type="string"), "place": Column(type="point")}
    assert certified([b"{}", b'{"x":1}', b"{}", b'{"fits":"a"}', b"{}"], columns) == [0, 1, 2, 3, 4]
    assert certified([b"{}"] * 3, columns) == [0, 1, 2]


def test_undeclared_members_are_found_wherever_they_first_appear() -> None:
    """One row with a new column among many is enough, and the fast path knows its name."""
    lines = [text(ROW)] * 50 + [text({**ROW, ":@region": "7"})] + [text(ROW)] * 50
    found = RowJudge(COLUMNS, smallest_pass=1, smallest_mould=1).judge(lines)
    assert found.unknown == {"tags", ":@region"}


def test_a_judge_that_met_other_rows_before_judges_as_a_new_one() -> None:
    """What it has learnt from one segment changes the speed of the next, never a verdict."""
    used = RowJudge(COLUMNS, smallest_pass=1, smallest_mould=1)
    lines = [text(ROW), b"no row", text({"id": "b", "n": "x"})]
    used.judge([text({**ROW, "id": str(number), "extra": number}, ", ", ": ") for number in range(20)])
    used.judge([text({**ROW, "id": str(number), "other": number}) for number in range(20)])
    again, fresh = used.judge(lines), RowJudge(COLUMNS).judge(lines)
    assert again.frame.equals(fresh.frame)
    assert (again.bad, again.nulled, again.unknown) == (fresh.bad, fresh.nulled, {"tags"})


def test_few_lines_are_left_to_the_reference() -> None:
    """A pass over columns has a price that a handful of rows does not pay back."""
    assert Certifier(COLUMNS).certify([text(ROW)] * 10).left.to_list() == list(range(10))


def test_no_lines_are_no_rows() -> None:
    """An empty block has the columns all the same."""
    found = RowJudge(COLUMNS).judge([])
    assert (found.frame.height, found.frame.columns) == (0, list(COLUMNS))


@pytest.mark.skipif(not RECORDS.exists(), reason="the sample of real records is not beside the project")
@pytest.mark.parametrize("name", ["full_columns", "sample_18_columns"])
def test_real_records_are_certified_nearly_all(name: str) -> None:
    """Both forms of a location, absent members, and columns that came and went."""
    lines = gzip.decompress((RECORDS / f"{name}.ndjson.gz").read_bytes()).splitlines()[:2_000]
    judge = RowJudge(NYC_311.columns)
    ours, theirs = judge.judge(lines), judge_by_line(lines, range(len(lines)), NYC_311.columns)
    assert ours.frame.equals(theirs.frame)
    assert (ours.bad, ours.nulled, ours.unknown) == (theirs.bad, theirs.nulled, theirs.unknown)
    assert len(Certifier(NYC_311.columns).certify(lines).indexes) > 0.95 * len(lines)
