"""Rows of entities: records mean what Python's own types say, and what is landed of them is what is proven of it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from contracts.fields import EntityField
from contracts.loads import Landing, Slice
from contracts.runs import LoadType
from contracts.segments import Occurrence
from contracts.sources import PostgresSource
from services.runtime.failures import MalformedError
from services.runtime.landing import END_BYTES, read_trailer, trailer_length
from services.validator.core.landed.cursors import cursor_of, micros_of
from services.validator.core.landed.packing import pack
from services.validator.core.landed.proof import Proof, Proven, check_layout
from services.validator.core.landed.records import JudgedRecords, RecordJudge
from services.validator.core.landed.types import schema_of

EXAMPLES = settings(max_examples=60, deadline=None)
OBJECT = Occurrence(bucket="raw", key="k", etag="e")
SOURCE = PostgresSource.model_validate(
    {
        "kind": "postgres",
        "system": "rds",
        "secret": "db",
        "table": "things",
        "key": ["id"],
        "cursor": "at",
        "event_date": "day",
    }
)
WHOLE = Slice(start="0001-01-01T00:00:00.000000", end="9999-12-31T23:59:59.999999", undated=True)

Written = tuple[Any, str]
"""A value and one of the JSON texts that mean it."""


def texts() -> st.SearchStrategy[Written]:
    """Strings, with and without escapes."""
    return st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.booleans()).map(
        lambda drawn: (drawn[0], json.dumps(drawn[0], ensure_ascii=drawn[1]))
    )


def integers(bits: int) -> st.SearchStrategy[Written]:
    """Whole numbers of so many bits."""
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(lambda n: (n, str(n)))


@st.composite
def decimals(draw: st.DrawFn, precision: int, scale: int) -> Written:
    """Numbers of so many digits: plain, as text, with an exponent, or with zeros that mean nothing."""
    unscaled = draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = Decimal(unscaled).scaleb(-scale) if precision <= 28 else Decimal(f"{unscaled}e-{scale}")
    plain = f"{value:f}"
    zeros = f"{plain}{'' if '.' in plain else '.'}000"
    return value, draw(st.sampled_from([plain, f'"{plain}"', f"{unscaled}e-{scale}", f"{unscaled}E{-scale}", zeros]))


@st.composite
def moments(draw: st.DrawFn) -> Written:
    """Instants, written with a zone or in UTC without one."""
    moment = draw(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
    zone = timezone(timedelta(minutes=draw(st.integers(-14 * 60, 14 * 60))))
    text = draw(
        st.sampled_from(
            [
                moment.isoformat(),
                moment.isoformat(" ").replace("+00:00", "Z"),
                moment.replace(tzinfo=None).isoformat(timespec="microseconds"),
                moment.astimezone(zone).isoformat(timespec="microseconds"),
            ]
        )
    )
    return moment, f'"{text}"'


SCALARS: dict[str, st.SearchStrategy[Written]] = {
    "string": texts(),
    "binary": st.binary(max_size=8).map(lambda b: (b, f'"{base64.b64encode(b).decode()}"')),
    "boolean": st.booleans().map(lambda b: (b, json.dumps(b))),
    "int16": integers(16),
    "int32": integers(32),
    "int64": integers(64),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: (x, repr(x))),
    "float64": st.floats(allow_nan=False, allow_infinity=False).map(lambda x: (x, repr(x))),
    "decimal(12,2)": decimals(12, 2),
    "decimal(38,18)": decimals(38, 18),
    "decimal(5,5)": decimals(5, 5),
    "date": st.dates().map(lambda d: (d, f'"{d}"')),
    "time_us": st.times().map(lambda t: (t, f'"{t}"')),
    "timestamp_us": st.datetimes().map(lambda d: (d, f'"{d.isoformat()}"')),
    "timestamp_us_utc": moments(),
}


def values(type_: str) -> st.SearchStrategy[Written]:
    """Values of a type and null."""
    if type_.startswith("list<"):
        items = st.lists(values(type_[5:-1]), max_size=3)
        some = items.map(lambda each: ([v for v, _ in each], f"[{','.join(text for _, text in each)}]"))
    else:
        some = SCALARS[type_]
    return some | st.just((None, "null"))


@dataclass(frozen=True)
class Table:
    """Fields, rows of their values, and a line of JSON for each."""

    fields: list[EntityField]
    rows: list[tuple[Any, ...]]
    lines: list[bytes]

    def judged(self, lines: Sequence[bytes]) -> JudgedRecords:
        """What becomes of some lines, in blocks of three."""
        judge = RecordJudge(
            "shop.things", self.fields, declared=[field.name for field in self.fields], required=["id", "at"]
        )
        return judge.judge(OBJECT, [lines[start : start + 3] for start in range(0, len(lines), 3)])


TYPES = st.sampled_from([*SCALARS, *(f"list<{type_}>" for type_ in SCALARS)])


@st.composite
def tables(draw: st.DrawFn, least: int = 0) -> Table:
    """An identity, a cursor, an event date, and columns of any types."""
    types = {"id": "int64", "at": "timestamp_us_utc", "day": draw(st.sampled_from(["date", "timestamp_us_utc"]))}
    types |= {f"c{number}": type_ for number, type_ in enumerate(draw(st.lists(TYPES, max_size=4)))}
    cells = {name: values(type_) for name, type_ in types.items()}
    cells["at"] = moments()
    if types["day"] == "date":  # few of them, so that they meet
        days = st.sampled_from([date(1969, 12, 31), date(1970, 1, 1), date(2025, 2, 28)])
        cells["day"] = days.map(lambda d: (d, f'"{d}"')) | st.just((None, "null"))
    rows, lines = [], []
    for number in range(draw(st.integers(least, 12))):
        drawn = {name: draw(cell) for name, cell in cells.items()} | {"id": (number, str(number))}
        rows.append(tuple(value for value, _ in drawn.values()))
        members = [f"{json.dumps(name)}:{text}" for name, (_, text) in draw(st.permutations(list(drawn.items())))]
        lines.append(f"{{{','.join(members)}}}".encode())
    return Table([EntityField(name=name, type=type_) for name, type_ in types.items()], rows, lines)


@EXAMPLES
@given(tables())
def test_records_are_exactly_what_pythons_own_types_say(table: Table) -> None:
    """Whatever the types, the order of the members and the way a value is written."""
    judged = table.judged(table.lines)
    assert not judged.bad
    assert dict(judged.rows.schema) == schema_of(table.fields)
    assert judged.rows.rows() == table.rows


BREAKS = [
    lambda line: line[:-1],
    lambda line: b"[" + line + b"]",
    lambda line: line.replace(b'"id":', b'"id":"x","other":'),
    lambda line: line.replace(b'"at":', b'"at":null,"other":'),
    lambda line: line.replace(b'"day":', b'"day":"2025-02-30","other":'),
    lambda line: line + b"\xff",
]


@EXAMPLES
@given(tables(least=1), st.data())
def test_exactly_the_lines_that_are_broken_are_refused(table: Table, data: st.DataObject) -> None:
    """Each bad line is named by its number and kept as it is; the others are judged as if it were not there."""
    broken = data.draw(st.dictionaries(st.sampled_from(range(len(table.lines))), st.sampled_from(BREAKS)))
    lines = [broken[n](line) if n in broken else line for n, line in enumerate(table.lines)]
    judged = table.judged(lines)
    assert judged.received == len(lines)
    assert [entry.row.line - 1 for entry in judged.bad if entry.row] == sorted(broken)
    assert [entry.row.raw for entry in judged.bad if entry.row] == [
        lines[n].decode("utf-8", "backslashreplace") for n in sorted(broken)
    ]
    assert judged.rows.rows() == [row for n, row in enumerate(table.rows) if n not in broken]


def packed(table: Table, rows: pl.DataFrame) -> tuple[bytes, Landing]:
    """A landing file of rows in small chunks, as if a fetcher had been asked for all of them."""
    about = Landing(
        pipeline="shop.things",
        run_id="r",
        segment_id="s",
        load_type=LoadType.FULL,
        fields=table.fields,
        slice=WHOLE,
        rows=0,
        chunks=[],
    )
    return pack(rows, "day", about, chunk_rows=2, most_rows=3)


def proven(file: bytes, landing: Landing) -> Proven:
    """What is proven of a landing file.

    Raises:
        MalformedError: it is not what its trailer says.
    """
    check_layout(landing, len(file), trailer_length(file, "f"))
    proof = Proof(landing, SOURCE)
    for chunk in landing.chunks:
        proof.take(chunk, file[chunk.offset : chunk.offset + chunk.length])
    return proof.finish()


def _day(row: tuple[Any, ...]) -> date:
    day = row[2]
    if day is None:
        return date.max
    return day.date() if isinstance(day, datetime) else day


@EXAMPLES
@given(tables())
def test_what_is_packed_is_proven_and_holds_every_row_in_the_order_of_days(table: Table) -> None:
    """Any Arrow library reads it, and the proof finds its days, its rows and how far its cursors reach."""
    file, landing = packed(table, pl.DataFrame(table.rows, schema=schema_of(table.fields), orient="row"))
    assert read_trailer(file, "f") == landing
    rows: list[tuple[Any, ...]] = []
    for chunk in landing.chunks:
        read = ipc.open_stream(file[chunk.offset : chunk.offset + chunk.length]).read_all()
        assert read.num_rows == chunk.rows <= 3
        rows += zip(*(column.to_pylist() for column in read.columns), strict=True)
    assert rows == sorted(table.rows, key=_day)
    found = proven(file, landing)
    cursors = sorted(row[1].replace(tzinfo=None).isoformat(timespec="microseconds") for row in table.rows)
    assert not found.faults
    assert (found.least_cursor, found.greatest_cursor) == ((cursors[0], cursors[-1]) if cursors else (None, None))


@EXAMPLES
@given(tables(least=2), st.data())
def test_one_wrong_thing_anywhere_is_found(table: Table, data: st.DataObject) -> None:
    """A row of another day, a key that is missing or there twice, a cursor beyond the window, a byte too few."""
    frame = pl.DataFrame(table.rows, schema=schema_of(table.fields), orient="row")
    place = data.draw(st.integers(0, frame.height - 1))
    wrong = data.draw(st.sampled_from(["key missing", "key twice", "cursor", "days", "cut"]))
    here = pl.int_range(pl.len()) == place
    if wrong == "key missing":
        frame = frame.with_columns(pl.when(~here).then("id").alias("id"))
    elif wrong == "key twice":
        other = frame["id"][place - 1]
        frame = frame.with_columns(pl.when(here).then(pl.lit(other, pl.Int64)).otherwise("id").alias("id"))
    file, landing = packed(table, frame)
    if wrong.startswith("key"):
        (fault,) = proven(file, landing).faults
        assert fault.startswith("1 rows have no id" if wrong == "key missing" else "1 keys (id) are there more than")
        return
    if wrong == "cursor":
        end = cursor_of(max(micros_of(row[1].isoformat()) for row in table.rows))
        landing = landing.model_copy(update={"slice": WHOLE.model_copy(update={"end": end})})
    elif wrong == "days":
        chunk = data.draw(st.sampled_from(landing.chunks))
        days = [day.model_copy(update={"date": None if day.date else "2024-01-01"}) for day in chunk.days]
        changed = chunk.model_copy(update={"days": days})
        landing = landing.model_copy(update={"chunks": [changed if c is chunk else c for c in landing.chunks]})
    else:
        cut = data.draw(st.integers(0, len(file) - trailer_length(file, "f") - 1))
        file = file[:cut] + file[cut + 1 :]
    assert len(file) > END_BYTES
    with pytest.raises(MalformedError):
        proven(file, landing)


@EXAMPLES
@given(st.datetimes())
def test_cursors_are_texts_that_compare_like_instants(moment: datetime) -> None:
    """What is written of an instant is what is read of it, to the microsecond."""
    text = cursor_of(micros_of(moment.isoformat()))
    assert len(text) == 26
    assert datetime.fromisoformat(text) == moment
    assert micros_of(text) == micros_of(moment.isoformat(" ")) == micros_of(moment.isoformat() + "+00:00")
    later = cursor_of(micros_of(text) + 1) if moment < datetime.max else "9999-12-31T23:59:59.9999995"  # noqa: DTZ901
    assert text < later


def test_times_of_day_of_a_day() -> None:
    """The ends of a day survive, too: some libraries count in nanoseconds."""
    times = [time(0), time(23, 59, 59, 999_999)]
    table = Table([EntityField(name="t", type="time_us")], [(t,) for t in times], [])
    assert pl.DataFrame(table.rows, schema=schema_of(table.fields), orient="row").rows() == table.rows
