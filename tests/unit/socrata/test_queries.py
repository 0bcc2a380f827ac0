"""Queries over a small dataset: fields, grouping, sorting, and the answers in wire form."""

import json
from typing import Any

import pytest
from soda_errors import SodaError
from soda_resource import query_of
from soda_rows import rows_of
from soda_store import Dataset

TYPES = {
    "id": "text",
    "kind": "text",
    "size": "number",
    "at": "floating_timestamp",
    "place": "point",
    ":@region": "text",
}
POINT = {"type": "Point", "coordinates": [-73.5, 40.25]}
ROWS = [
    {"id": "1", "kind": "b", "size": "10", "at": "2025-02-20T23:59:59.999", "place": POINT, ":@region": "7"},
    {"id": "2", "kind": "a", "size": "2.50", "at": "2025-02-21T00:00:00.000"},
    {"id": "3", "kind": "a", "at": "2025-02-21T00:00:00.000", "place": {"latitude": "1", "longitude": "2"}},
    {"id": "10", "kind": 'é"\n', "size": "-1", "at": "2024-12-31T12:00:00.000"},
    {"id": "11"},
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Five rows with ties and missing values."""
    made = Dataset("test-test", TYPES, "id")
    made.publish(rows_of(ROWS))
    return made


def ask(dataset: Dataset, **params: Any) -> list[dict[str, Any]]:
    """The rows of an answer; ``select=`` stands for ``$select=``."""
    answer = dataset.query(query_of({f"${name}": str(value) for name, value in params.items()}), None)
    rows: list[dict[str, Any]] = json.loads(answer.body())
    return rows


def ids(dataset: Dataset, **params: Any) -> list[str]:
    return [row["id"] for row in ask(dataset, **params)]


def test_rows_are_as_they_were_given(dataset: Dataset) -> None:
    """The star, alone or unsaid, gives every row as it was published."""
    assert ask(dataset) == ask(dataset, select="*") == ROWS


def test_the_array_has_a_row_a_line(dataset: Dataset) -> None:
    """Line breaks stand between rows only; an empty answer is an empty array; one line is written on demand."""
    answer = dataset.query(query_of({}), None)
    lines = answer.body().decode().split("\n")
    assert [json.loads(line[1:]) for line in lines[:-1]] == ROWS
    assert ([line[0] for line in lines], lines[-1]) == (["[", ",", ",", ",", ",", "]"], "]")
    assert json.loads(answer.body(one_line=True)) == ROWS
    assert answer.body(one_line=True).count(b"\n") == 1
    assert dataset.query(query_of({"$where": "id = 'none'"}), None).body() == b"[]"


def test_selected_columns_keep_their_literal_values(dataset: Dataset) -> None:
    """Numbers and timestamps are not written anew, places are objects, missing values are absent."""
    assert ask(dataset, select="size, at as when, place", where="id in ('1', '2', '11')") == [
        {"size": "10", "when": "2025-02-20T23:59:59.999", "place": POINT},
        {"size": "2.50", "when": "2025-02-21T00:00:00.000"},
        {},
    ]


def test_fields_and_types_of_an_answer(dataset: Dataset) -> None:
    """Unnamed expressions get names from their functions and columns, and a number where that name is taken."""
    text = "count(*), count(size), max(at), date_trunc_ym(max(at)) m"
    with pytest.raises(SodaError, match="date_trunc_ym of an aggregate"):
        dataset.query(query_of({"$select": text}), None)
    answer = dataset.query(query_of({"$select": "count(*), count(size), max(at), min(kind), count(*)"}), None)
    assert [(field.name, field.type) for field in answer.fields] == [
        ("count", "number"),
        ("count_size", "number"),
        ("max_at", "floating_timestamp"),
        ("min_kind", "text"),
        ("count_1", "number"),
    ]
    assert [field.name for field in dataset.query(query_of({}), None).fields] == list(TYPES)


def test_aggregates(dataset: Dataset) -> None:
    """Missing values do not count; sums and averages are written without exponent or empty fraction."""
    assert ask(dataset, select="count(*) n, count(size) c, min(at) a, max(id) i, sum(size) s, avg(size) v") == [
        {"n": "5", "c": "3", "a": "2024-12-31T12:00:00.000", "i": "3", "s": "11.5", "v": "3.8333333333333335"}
    ]
    assert ask(dataset, select="sum(size), max(at)", where="id = '11'") == [{}]
    assert ask(dataset, select="sum(size) as total", where="id in ('1', '10')") == [{"total": "9"}]


@pytest.mark.parametrize(
    ("trunc", "days"),
    [
        ("date_trunc_y", [("2024-01-01", "1"), ("2025-01-01", "3")]),
        ("date_trunc_ym", [("2024-12-01", "1"), ("2025-02-01", "3")]),
        ("date_trunc_ymd", [("2024-12-31", "1"), ("2025-02-20", "1"), ("2025-02-21", "2")]),
    ],
)
def test_groups_by_time(dataset: Dataset, trunc: str, days: list[tuple[str, str]]) -> None:
    """Years, months and days begin at midnight; group and order may name the alias; nothing is a group too."""
    found = ask(dataset, select=f"{trunc}(at) as day, count(*) as n", group="day", order="day", where="at is not null")
    assert found == [{"day": f"{day}T00:00:00.000", "n": n} for day, n in days]
    assert ask(dataset, select=f"{trunc}(at), count(*)", group=f"{trunc}(at)", order="count(*) desc", limit=1) == [
        {f"{trunc}_at": f"{days[-1][0]}T00:00:00.000", "count": days[-1][1]}
    ]
    assert {"n": "1"} in ask(dataset, select=f"{trunc}(at) as day, count(*) as n", group="day")


def test_having(dataset: Dataset) -> None:
    """Conditions on aggregates choose groups."""
    assert ask(dataset, select="kind, count(*) as n", group="kind", having="n > 1 and max(size) < 3") == [
        {"kind": "a", "n": "2"}
    ]


def test_sorting(dataset: Dataset) -> None:
    """By several columns; missing values last, or first where it descends; what is equal keeps the published order."""
    assert ids(dataset, order="id") == ["1", "10", "11", "2", "3"]
    assert ids(dataset, order="kind, id desc") == ["3", "2", "1", "10", "11"]
    assert ids(dataset, order="size desc") == ["3", "11", "1", "2", "10"]
    assert ids(dataset, order="size desc nulls last, id") == ["1", "2", "10", "11", "3"]
    assert ids(dataset, order="at desc, kind") == ["11", "2", "3", "1", "10"]
    assert ids(dataset, order=":id desc") == ["11", "10", "3", "2", "1"]


def test_pages(dataset: Dataset) -> None:
    """Limit and offset cut the sorted rows, with and without an order."""
    assert [ids(dataset, order="id", limit=2, offset=start) for start in (0, 2, 4, 6)] == [
        ["1", "10"],
        ["11", "2"],
        ["3"],
        [],
    ]
    assert ids(dataset, limit=2, offset=3) == ["10", "11"]
    assert ids(dataset, limit=0) == []


def test_comparisons_by_type(dataset: Dataset) -> None:
    """Text by code points, numbers by value, timestamps by moment, whatever the literal leaves out."""
    assert ids(dataset, where="id > '10'") == ["2", "3", "11"]
    assert ids(dataset, where="size > '2'") == ids(dataset, where="size > 2") == ["1", "2"]
    assert ids(dataset, where="at = '2025-02-21'") == ids(dataset, where="at = '2025-02-21T00:00'") == ["2", "3"]
    assert ids(dataset, where="at < '2025-02-21 00:00:00'") == ["1", "10"]
    assert ids(dataset, where=":@region = '7'") == ["1"]
    assert ids(dataset, where="place is not null") == ["1", "3"]


def test_simple_filters(dataset: Dataset) -> None:
    """``column=value`` parameters are conditions, joined with ``$where``."""
    answer = dataset.query(query_of({"kind": "a", "size": "2.5", "$where": "id != '1'"}), None)
    assert [json.loads(row)["id"] for row in answer.rows] == ["2"]


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"$select": "no_such"}, "no-such-column", "No such column: no_such"),
        ({"$where": "no_such = 1"}, "no-such-column", "No such column: no_such"),
        ({"$order": "$seq"}, "no-parse", r"'\$'"),
        ({"$order": "`$seq`"}, "no-such-column", r"No such column: \$seq"),
        ({"nothing": "1"}, "no-such-column", "No such column: nothing"),
        ({"$where": "lower(id) = 'x'"}, "no-such-function", "No such function: lower"),
        ({"$where": "id = 1"}, "type-mismatch", "cannot compare text with number"),
        ({"$where": "size = 'ten'"}, "type-mismatch", "'ten' is not a number"),
        ({"$where": "at > '2025-02-30'"}, "type-mismatch", "'2025-02-30' is not a floating_timestamp"),
        ({"$where": "at > '2025-02-21T00:00:00Z'"}, "type-mismatch", "is not a floating_timestamp"),
        ({"$where": "at > 5"}, "type-mismatch", "cannot compare floating_timestamp with number"),
        ({"$where": "place = 'x'"}, "type-mismatch", "values of type point cannot be compared"),
        ({"$where": "size like '1%'"}, "type-mismatch", "like compares text, not number"),
        ({"$where": "id like '1\\'"}, "invalid-pattern", "ends with its escape character"),
        ({"$where": "id"}, "type-mismatch", r"\$where must be a condition, but it is of type text"),
        ({"$where": "count(*) > 1"}, "aggregate-in-ungrouped-context", r"\$where cannot contain an aggregate"),
        ({"$select": "sum(kind)"}, "type-mismatch", "sum does not take values of type text"),
        ({"$select": "date_trunc_y(kind)"}, "type-mismatch", "date_trunc_y does not take values of type text"),
        ({"$select": "max(id, kind)"}, "type-mismatch", "max takes one argument, not 2"),
        ({"$select": "kind, count(*)"}, "column-not-in-group-bys", "Column not in group bys: kind"),
        ({"$select": "kind", "$group": "kind", "$order": "id"}, "column-not-in-group-bys", "id"),
        ({"$group": "kind"}, "column-not-in-group-bys", r"\* cannot be selected"),
        ({"$select": "count(*)", "$group": "count(*)"}, "invalid-group-by", r"\$group takes columns"),
        ({"$select": "id, kind as id"}, "duplicate-alias", "Duplicate alias: id"),
        ({"$having": "id = '1'"}, "having-without-group", r"\$having needs \$group"),
        ({"$order": "'id'"}, "invalid-order-by", r"\$order takes expressions"),
        ({"$limit": "-1"}, "invalid-limit", "must be a whole number, not '-1'"),
        ({"$limit": "50001"}, "invalid-limit", "at most 50000, not 50001"),
        ({"$offset": "x"}, "invalid-offset", "must be a whole number, not 'x'"),
    ],
)
def test_queries_that_do_not_fit(dataset: Dataset, params: dict[str, str], code: str, message: str) -> None:
    """Each is refused with 400, a code of its own and the reason; none reaches the database."""
    with pytest.raises(SodaError, match=message) as refused:
        dataset.query(query_of(params), None)
    assert (refused.value.status, refused.value.code) == (400, f"query.soql.{code}")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"$query": "select *"}, r"Unrecognized arguments \[\$query\]"),
        ({"$limit": ["1", "2"]}, r"Arguments given more than once \[\$limit\]"),
    ],
)
def test_parameters_that_do_not_exist(params: dict[str, Any], message: str) -> None:
    """A clause that is not known or comes twice is not ignored."""
    with pytest.raises(SodaError, match=message):
        query_of(params)
