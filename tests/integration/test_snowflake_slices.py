"""The SQL of slices, evaluated by another engine that reads the same words."""

from collections.abc import Iterator
from itertools import pairwise

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.sources import SnowflakeSource
from services.runtime.failures import PermanentError
from services.runtime.snowflake.sql import quoted, rows_of, selected, table_of

START, END = "2026-01-01T00:00:00.000000", "2026-01-03T00:00:00.000000"
FIELDS = [
    EntityField(name="A", type="int64", source_type="BIGINT"),
    EntityField(name='the "B"', type="string", source_type="TEXT"),
    EntityField(name="C", type="date", source_type="DATE"),
    EntityField(name="AT", type="timestamp_us", source_type="TIMESTAMP_NTZ"),
]
SOURCE = SnowflakeSource(
    kind="snowflake", system="sf", secret="any", table="ORDERS", key=["A", 'the "B"', "C"], cursor="AT"  # noqa: S106
)  # fmt: skip

days = st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"])
keys = st.tuples(st.integers(0, 2), st.sampled_from(["", "a", "a'b", "?", "é"]), days)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine that knows Snowflake's names of types."""
    with duckdb.connect() as engine:
        engine.execute('CREATE SCHEMA "PUBLIC"; CREATE TYPE TIMESTAMP_NTZ AS TIMESTAMP')
        engine.execute('CREATE TABLE "PUBLIC"."ORDERS" ("A" BIGINT, "the ""B""" TEXT, "C" DATE, "AT" TIMESTAMP)')
        yield engine


@settings(max_examples=30, deadline=None)
@given(
    rows=st.dictionaries(keys, st.none() | days, max_size=25), bounds=st.sets(keys, max_size=4), undated=st.booleans()
)
def test_every_row_of_the_window_is_in_one_slice(
    engine: duckdb.DuckDBPyConnection, rows: dict[tuple[int, str, str], str | None], bounds: set[tuple[int, str, str]],
    undated: bool,  # noqa: FBT001 - Hypothesis gives it by name
) -> None:  # fmt: skip
    """Wherever a composite key is cut, neighbouring slices share no row and leave none out."""
    table = table_of(SOURCE)
    engine.execute(f"TRUNCATE {table}")
    if rows:
        values = [[*key, at] for key, at in rows.items()]
        engine.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", values)  # noqa: S608 - our own words
    ends = [None, *([str(value) for value in key] for key in sorted(bounds)), None]
    found: list[tuple[int, str, str]] = []
    for after, upto in pairwise(ends):
        condition = rows_of(SOURCE, FIELDS, Slice(start=START, end=END, undated=undated, after=after, upto=upto))
        columns = ", ".join(selected(field) for field in FIELDS)
        query = f"SELECT {columns} FROM {table} WHERE {condition.sql}"  # noqa: S608 - what is tested
        read = engine.execute(query, list(condition.values))
        part = [(a, b, c.isoformat()) for a, b, c, _ in read.fetchall()]
        if after is not None:
            assert all(key > (int(after[0]), *after[1:]) for key in part)
        found += part
    wanted = [key for key, at in rows.items() if (undated if at is None else START[:10] <= at < END[:10])]
    assert sorted(found) == sorted(wanted)


def test_a_load_of_keys_has_no_window() -> None:
    """Where the cursor is not read, rows of any cursor belong to the slice."""
    assert rows_of(SOURCE, FIELDS[:3], Slice(start=START, end=END, undated=True)).sql == "TRUE"


def test_zoned_cursors_are_compared_with_moments() -> None:
    """Bounds are UTC, and say so where the column has zones."""
    zoned = [FIELDS[3].model_copy(update={"source_type": "TIMESTAMP_LTZ"})]
    by_cursor = SOURCE.model_copy(update={"key": ["AT"]})
    found = rows_of(by_cursor, zoned, Slice(start="1970-01-01 00:00:00", end=END))
    assert found.values == ("1970-01-01T00:00:00+00:00", "2026-01-03T00:00:00.000000+00:00")
    assert found.sql.count("AS TIMESTAMP_TZ") == 2


def test_columns_without_a_type_of_ours_are_read_as_text() -> None:
    """Documents come as compact JSON, whatever else was declared to be text in its own form."""
    for source_type, sql in (("TEXT", '"X"'), ("VARIANT", 'TO_JSON("X") AS "X"'), ("FLOAT", 'TO_VARCHAR("X") AS "X"')):
        assert selected(EntityField(name="X", type="string", source_type=source_type)) == sql


def test_what_is_no_name_and_no_type_is_refused() -> None:
    """Nothing that a message says gets into SQL unless it looks like what it should be."""
    for name in ("", "a\0b"):
        with pytest.raises(PermanentError, match="cannot be the name"):
            quoted(name)
    forged = [FIELDS[0].model_copy(update={"source_type": "TEXT) OR (1=1"}), *FIELDS[1:]]
    with pytest.raises(PermanentError, match="is no type of Snowflake"):
        rows_of(SOURCE, forged, Slice(start=START, end=END, after=["1", "a", "2026-01-01"]))
    with pytest.raises(PermanentError, match="1 values of a key of 3 columns"):
        rows_of(SOURCE, FIELDS, Slice(start=START, end=END, after=["1"]))
