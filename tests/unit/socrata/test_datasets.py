"""Publishing: late rows, changed rows, new columns, and what cannot be taken in."""

import gzip
import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from soda_data import Data, create_dataset
from soda_errors import SodaError
from soda_rows import Row, rows_in, rows_of
from soda_store import BATCH, Dataset
from soql_parser import parse_order, parse_select
from soql_tree import Query

DAY = "2025-02-2{}T00:00:00.000"


def at(day: int) -> datetime:
    return datetime.fromisoformat(DAY.format(day))


def made(*rows: dict[str, Any], **options: Any) -> Dataset:
    return create_dataset("test-test", Data(rows=list(rows), **options))


def seen(dataset: Dataset, now: datetime | None = None) -> list[dict[str, Any]]:
    """Every visible row."""
    return [json.loads(row) for row in dataset.query(Query(order=parse_order(":id")), now).rows]


def test_rows_appear_when_they_are_published() -> None:
    """Not before their time, from that very moment on, and all of them without a clock; the time is not on the wire."""
    dataset = made({"unique_key": "1"}, {"unique_key": "2", "published_at": DAY.format(2)})
    assert seen(dataset, at(1)) == [{"unique_key": "1"}]
    assert seen(dataset, at(2)) == seen(dataset) == [{"unique_key": "1"}, {"unique_key": "2"}]


def test_a_changed_row_replaces_its_earlier_version_when_it_is_published() -> None:
    """At any moment exactly one version is visible, whether it came in one batch or later."""
    old, new, newest = ({"unique_key": "1", "status": status} for status in ("Open", "In Progress", "Closed"))
    dataset = made(old, {**new, "published_at": DAY.format(2)}, {"unique_key": "2"})
    done = dataset.publish(rows_of([{**newest, "published_at": DAY.format(4)}, {"unique_key": "3"}]))
    assert (done.added, done.replaced, len(dataset)) == (2, 1, 5)
    versions = [[r["status"] for r in seen(dataset, at(day)) if r["unique_key"] == "1"] for day in (1, 2, 3, 4, 5)]
    assert versions == [["Open"], ["In Progress"], ["In Progress"], ["Closed"], ["Closed"]]
    dataset.publish(rows_of([{**old, "status": "Reopened"}]))
    assert [r["status"] for r in seen(dataset, at(1)) if r["unique_key"] == "1"] == ["Reopened"]
    assert sorted(r["unique_key"] for r in seen(dataset)) == ["1", "2", "3"]


def test_without_a_key_rows_only_add_up() -> None:
    """A dataset that has no such column keeps every row."""
    dataset = made({"a": "1"})
    assert dataset.key is None
    assert dataset.publish(rows_of([{"a": "1"}])).replaced == 0
    assert len(seen(dataset)) == 2


def test_types_are_declared_or_seen() -> None:
    """Timestamps and places show their types; numbers do not, because zip codes look like them."""
    point = {"type": "Point", "coordinates": [1.5, 2]}
    legacy = {"latitude": "2", "longitude": "1.5"}
    dataset = made(
        {"unique_key": "1", "at": DAY.format(1), "zip": "10001", "size": "1", "here": point, "there": legacy},
        columns={"size": "number", "later": "text"},
    )
    assert dataset.columns == {
        "unique_key": "text",
        "at": "floating_timestamp",
        "zip": "text",
        "size": "number",
        "here": "point",
        "there": "location",
        "later": "text",
    }
    assert seen(dataset)[0]["here"] == point


def test_a_column_that_comes_later_is_added() -> None:
    """Old rows do not have it; queries know it from then on, in the same batch too."""
    dataset = made({"unique_key": "1"})
    dataset.publish(rows_of([{"unique_key": "2"}, {"unique_key": "3", "at": DAY.format(1), ":@new": "x"}]))
    assert dataset.columns == {"unique_key": "text", ":@new": "text", "at": "floating_timestamp"}
    answer = dataset.query(Query(select=parse_select("max(at) as at, count(:@new) as n")), None)
    assert answer.rows == ['{"at":"2025-02-21T00:00:00.000","n":"1"}']


def test_values_of_another_type_stay_in_the_row() -> None:
    """They are on the wire as they are, and missing to every condition; so are not-a-number and infinity."""
    rows = [
        {"unique_key": str(number), "size": size, "at": moment}
        for number, (size, moment) in enumerate(
            [("n/a", "TBD"), ("nan", "infinity"), ("12.5", "1899-12-31T00:00:00.000")]
        )
    ]
    dataset = made(*rows, columns={"size": "number", "at": "floating_timestamp"})
    assert seen(dataset) == rows
    answer = dataset.query(Query(select=parse_select("count(size) as s, max(size) as m, count(at) as a")), None)
    assert answer.rows == ['{"s":"1","m":"12.5","a":"1"}']
    shown = dataset.query(Query(select=parse_select("size, at")), None).rows
    assert [json.loads(row) for row in shown] == [{"size": row["size"], "at": row["at"]} for row in rows]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_rows_of_a_file(tmp_path: Path, suffix: str) -> None:
    """One a line, plain or compressed, empty lines left out; publication times are taken off."""
    path = tmp_path / f"rows.ndjson{suffix}"
    text = '{"unique_key":"1", "x":"é"}\n\n{"unique_key":"2","published_at":"2025-02-22T00:00:00.000"}\n'
    path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    assert rows_in(path) == [Row('{"unique_key":"1", "x":"é"}'), Row('{"unique_key":"2"}', at(2))]
    assert len(seen(create_dataset("test-test", Data(path=path)), at(1))) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rows": [{"a": 1}]}, "row 0: a: 1 must be text, as it is on the wire, or an object"),
        ({"rows": ["x"]}, "row 0: must be an object"),
        ({"rows": [{"a": "1", "published_at": "now"}]}, "row 0: published_at: 'now' is not a floating timestamp"),
        ({"rows": [{"A": "1"}]}, "columns: 'A' cannot be the name of a column"),
        ({"rows": [], "columns": {"a": "integer"}}, "columns: a: 'integer' is not one of text, number"),
        ({"rows": [], "path": "x"}, "only one of rows, path can be given"),
        ({"path": "no/such/file"}, "No such file"),
        ({"generate": {"count": -1}}, r"generate\.count: "),
        ({"generate": {"rows": 1}}, r"generate\.count: Field required"),
    ],
)
def test_data_that_cannot_be_taken_in(data: dict[str, Any], message: str) -> None:
    """One error with status 400 names the row or the option."""
    with pytest.raises(SodaError, match=message) as refused:
        create_dataset("test-test", Data(**data))
    assert refused.value.status == 400


def test_a_refused_batch_leaves_nothing() -> None:
    """All rows are taken in, or none, and no column of theirs."""
    dataset = made({"unique_key": "1"})
    good = [Row(json.dumps({"unique_key": str(n), "new": "x"})) for n in range(2, BATCH + 5)]
    for bad in ("{nonsense", "[]", '"text"', ""):
        with pytest.raises(SodaError, match="rows: "):
            dataset.publish([*good, Row(bad)])
    assert (seen(dataset), dataset.columns, len(dataset)) == ([{"unique_key": "1"}], {"unique_key": "text"}, 1)
    dataset.publish(good[:1])
    assert len(seen(dataset)) == 2


def test_readers_see_whole_batches() -> None:
    """A query beside a publication sees all of its rows or none."""
    dataset = made({"unique_key": "first"})
    counts: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            counts.add(len(seen(dataset)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for batch in range(9):  # all of them are fewer than an answer may have
            dataset.publish(rows_of([{"unique_key": f"{batch}-{n}", f"new{batch}": "x"} for n in range(100)]))
    finally:
        done.set()
        reader.join()
    assert {count % 100 for count in counts} == {1}
