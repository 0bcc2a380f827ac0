"""What a ``$where`` selects is what a plain evaluation of it in Python selects."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from soda_rows import Row, rows_of
from soda_store import Dataset
from soql_parser import parse_condition, parse_select
from soql_tree import Query

TYPES = {"key": "text", "name": "text", "size": "number", "at": "floating_timestamp"}
Values = dict[str, Any]
Verdict = Callable[[Values], bool | None]


@dataclass(frozen=True)
class Condition:
    """A condition as SoQL and as what it says of a row; None: unknown, because a value is missing."""

    text: str
    holds: Verdict


def wire(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


names = st.text(st.sampled_from("ab%_' \\éZ\U0001f600\uffff"), max_size=3)
sizes = st.integers(-3, 3) | st.sampled_from([0.5, -0.25, 1e6])
moments = st.integers(-3, 3).map(lambda days: datetime(2025, 2, 28) + timedelta(days=days / 2, milliseconds=days))  # noqa: DTZ001
literals = {
    "name": names.map(lambda value: (quoted(value), value)),
    "size": sizes.flatmap(lambda value: st.sampled_from([str(value), quoted(str(value))]).map(lambda t: (t, value))),
    "at": moments.map(lambda value: (quoted(wire(value)), value)),
}
rows = st.lists(
    st.fixed_dictionaries({}, optional={"name": names, "size": sizes, "at": moments}),
    max_size=8,
)
columns = st.sampled_from(["name", "size", "at"])
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def known(column: str, test: Callable[[Any], bool]) -> Verdict:
    """A test of one column's value, unknown where it is missing."""
    return lambda row: test(row[column]) if column in row else None


def negated(verdict: bool | None) -> bool | None:  # noqa: FBT001 - a truth value
    return None if verdict is None else not verdict


def every(verdicts: Sequence[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def like(value: str, pattern: str) -> bool:
    """Whether a text fits a pattern without escapes."""
    if not pattern:
        return not value
    if pattern[0] == "%":
        return any(like(value[start:], pattern[1:]) for start in range(len(value) + 1))
    return bool(value) and pattern[0] in {"_", value[0]} and like(value[1:], pattern[1:])


@st.composite
def simple(draw: st.DrawFn) -> Condition:
    """One comparison of a column."""
    column = draw(columns)
    shape = draw(st.sampled_from(["compare", "in", "between", "null", "like"]))
    if shape == "null":
        return Condition(f"{column} is null", lambda row: column not in row)
    if shape == "like":
        pattern = draw(names.filter(lambda text: "\\" not in text))
        return Condition(f"name like {quoted(pattern)}", known("name", lambda value: like(value, pattern)))
    if shape == "in":
        chosen = draw(st.lists(literals[column], min_size=1, max_size=4))
        values = [value for _, value in chosen]
        text = f"{column} in ({', '.join(text for text, _ in chosen)})"
        return Condition(text, known(column, lambda value: value in values))
    (low, lowest), (high, highest) = draw(literals[column]), draw(literals[column])
    if shape == "between":
        return Condition(f"{column} between {low} and {high}", known(column, lambda v: lowest <= v <= highest))
    operator = draw(st.sampled_from(sorted(OPERATORS)))
    return Condition(f"{column} {operator} {low}", known(column, lambda v: OPERATORS[operator](v, lowest)))


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    """Conditions made of others."""

    def conjunction(parts: list[Condition]) -> Condition:
        text = " AND ".join(f"({part.text})" for part in parts)
        return Condition(text, lambda row: every([part.holds(row) for part in parts]))

    def disjunction(parts: list[Condition]) -> Condition:
        text = " or ".join(f"({part.text})" for part in parts)
        return Condition(text, lambda row: negated(every([negated(part.holds(row)) for part in parts])))

    several = st.lists(inner, min_size=2, max_size=3)
    opposite = inner.map(lambda part: Condition(f"not ({part.text})", lambda row: negated(part.holds(row))))
    return opposite | several.map(conjunction) | several.map(disjunction)


conditions = st.recursive(simple(), combined, max_leaves=6)


def as_row(number: int, values: Values) -> dict[str, str]:
    """A row as it is on the wire."""
    texts = {name: wire(v) if isinstance(v, datetime) else str(v) for name, v in values.items()}
    return {"key": str(number), **texts}


@settings(max_examples=80, deadline=None)
@given(rows=rows, condition=conditions)
def test_a_condition_selects_the_rows_it_says(rows: list[Values], condition: Condition) -> None:
    """Whatever the rows, the literals and the nesting; with missing values, quotes, and characters beyond 16 bits."""
    dataset = Dataset("test-test", TYPES, "key")
    dataset.publish(rows_of([as_row(number, values) for number, values in enumerate(rows)]))
    query = Query(select=parse_select("key"), where=parse_condition(condition.text))
    found = [json.loads(row)["key"] for row in dataset.query(query, None).rows]
    assert found == [str(number) for number, values in enumerate(rows) if condition.holds(values)]


def test_nothing_in_a_literal_breaks_out() -> None:
    """SQL in a text literal is text."""
    evil = "x'; DROP TABLE rows; --"
    dataset = Dataset("test-test", TYPES, "key")
    dataset.publish([Row(json.dumps({"key": evil}))])
    query = Query(where=parse_condition(f"key = {quoted(evil)}"))
    assert [json.loads(row) for row in dataset.query(query, None).rows] == [{"key": evil}]
    assert [json.loads(row) for row in dataset.query(query, None).rows] == [{"key": evil}]
