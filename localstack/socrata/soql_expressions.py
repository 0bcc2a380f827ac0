"""SoQL expressions into SQL with parameters, each with its type. No text of a query ever becomes part of the SQL.

A text literal takes the type of what it is compared with: ``created_date > '2025-01-01'`` compares moments,
``unique_key > '2025'`` compares text by code points.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soda_errors import SodaError, bad_query
from soql_tree import (
    Between,
    Call,
    Column,
    Comparison,
    In,
    IsNull,
    Like,
    Logic,
    Node,
    Not,
    Null,
    Number,
    Text,
    Truth,
    children,
)
from soql_values import PARAMETERS, read_text

ROW_ID = ":id"
"""The system column that tells rows apart; not part of ``*``."""

SEQUENCE = '"$seq"'
"""SQL of the table's column that numbers rows; no column of a dataset can have this name."""

_ORDERED = frozenset({"text", "number", "floating_timestamp", "boolean", "null"})
_TRUNCATIONS = {"date_trunc_y": "year", "date_trunc_ym": "month", "date_trunc_ymd": "day"}
_AGGREGATES: Mapping[str, frozenset[str]] = {
    "min": frozenset({"text", "number", "floating_timestamp"}),
    "max": frozenset({"text", "number", "floating_timestamp"}),
    "sum": frozenset({"number"}),
    "avg": frozenset({"number"}),
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL, the parameters of its question marks in order, and its SoQL type."""

    sql: str
    parameters: tuple[Any, ...]
    type: str


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_aggregate(node: Node) -> bool:
    """Whether a node is a call that makes one value of a group of rows."""
    return isinstance(node, Call) and (node.function == "count" or node.function in _AGGREGATES)


class Expressions:
    """Compiles expressions over the columns of a dataset and the aliases of a query."""

    def __init__(self, columns: Mapping[str, str], aliases: Mapping[str, Node] | None = None) -> None:
        self._columns = columns
        self._aliases = aliases or {}

    def compile(self, node: Node) -> Fragment:
        """The SQL of an expression.

        Raises:
            SodaError: 400, it names a column or function that does not exist, or its types do not fit.
        """
        match node:
            case Column():
                found = self._column(node)
            case Text():
                found = Fragment(PARAMETERS["text"], (node.value,), "text")
            case Number():
                found = Fragment(PARAMETERS["number"], (float(node.value),), "number")
            case Truth():
                found = Fragment("TRUE" if node.value else "FALSE", (), "boolean")
            case Null():
                found = Fragment("NULL", (), "null")
            case Call():
                found = self._call(node)
            case _:
                sql, parts = self._predicate(node)
                found = _shaped(sql, "boolean", *parts)
        return found

    def condition(self, node: Node, clause: str) -> Fragment:
        """The SQL of a condition; 400 if it is none."""
        fragment = self.compile(node)
        if fragment.type not in {"boolean", "null"}:
            raise _mismatch(f"{clause} must be a condition, but it is of type {fragment.type}")
        return fragment

    def resolved(self, node: Node) -> "tuple[Node, Expressions]":
        """What an alias stands for, and where its own names are looked up; any other expression itself."""
        if isinstance(node, Column) and node.name in self._aliases:
            return self._aliases[node.name], Expressions(self._columns)
        return node, self

    def nodes(self, node: Node) -> Iterator[Node]:
        """An expression and all that it is made of, aliases replaced."""
        meaning, inside = self.resolved(node)
        yield meaning
        for child in children(meaning):
            yield from inside.nodes(child)

    def _column(self, node: Column) -> Fragment:
        meaning, inside = self.resolved(node)
        if inside is not self:
            return inside.compile(meaning)
        if node.name == ROW_ID:
            return Fragment(f"format('row-{{:012d}}', {SEQUENCE})", (), "text")
        if node.name not in self._columns:
            raise bad_query("no-such-column", f"No such column: {node.name}", column=node.name)
        return Fragment(quoted(node.name), (), self._columns[node.name])

    def _predicate(self, node: Node) -> tuple[str, Sequence[Fragment]]:
        """A condition's SQL with places for its parts, and the parts."""
        shape, parts = "", [Fragment("", (), "")]
        match node:
            case Not():
                shape, parts = "(NOT {})", [self.condition(node.operand, "the operand of not")]
            case Logic():
                parts = [self.condition(operand, f"an operand of {node.operator}") for operand in node.operands]
                shape = "(" + f" {node.operator.upper()} ".join(["{}"] * len(parts)) + ")"
            case Comparison():
                shape, parts = f"({{}} {node.operator} {{}})", self._alike(node.left, node.right)
            case Between():
                shape, parts = "({} BETWEEN {} AND {})", self._alike(node.operand, node.low, node.high)
            case In():
                parts = self._alike(node.operand, *node.choices)
                shape = f"({{}} IN ({', '.join(['{}'] * len(node.choices))}))"
            case Like():
                shape, parts = r"({} LIKE {} ESCAPE '\')", self._like(node)
            case IsNull():
                shape, parts = "({} IS NULL)", [self.compile(node.operand)]
        return shape, parts

    def _like(self, node: Like) -> list[Fragment]:
        parts = [self.compile(node.operand), self.compile(node.pattern)]
        for part in parts:
            if part.type not in {"text", "null"}:
                raise _mismatch(f"like compares text, not {part.type}")
        if isinstance(node.pattern, Text) and re.search(r"(?<!\\)(?:\\\\)*\\$", node.pattern.value):
            raise bad_query("invalid-pattern", f"The pattern {node.pattern.value!r} ends with its escape character")
        return parts

    def _alike(self, *nodes: Node) -> list[Fragment]:
        """Fragments of one type, which those have that are no text literals."""
        fragments = [self.compile(node) for node in nodes]
        known = [f.type for n, f in zip(nodes, fragments, strict=True) if not isinstance(n, Text) and f.type != "null"]
        wanted = known[0] if known else "text"
        if wanted not in _ORDERED:
            raise _mismatch(f"values of type {wanted} cannot be compared")
        fragments = [
            _literal(node, wanted) if isinstance(node, Text) else fragment
            for node, fragment in zip(nodes, fragments, strict=True)
        ]
        for fragment in fragments:
            if fragment.type not in {wanted, "null"}:
                raise _mismatch(f"cannot compare {wanted} with {fragment.type}")
        return fragments

    def _call(self, node: Call) -> Fragment:
        if node.function == "count" and not node.arguments:
            return Fragment("count(*)", (), "number")
        if node.function not in {"count", *_AGGREGATES, *_TRUNCATIONS}:
            raise bad_query("no-such-function", f"No such function: {node.function}", function=node.function)
        if len(node.arguments) != 1:
            raise _mismatch(f"{node.function} takes one argument, not {len(node.arguments)}")
        if is_aggregate(node.arguments[0]):
            raise bad_query("aggregate-in-ungrouped-context", f"{node.function} of an aggregate")
        argument = self.compile(node.arguments[0])
        if node.function == "count":
            return _shaped("count({})", "number", argument)
        if node.function in _TRUNCATIONS:
            self._accepts(node, argument, frozenset({"floating_timestamp"}))
            shape = f"date_trunc('{_TRUNCATIONS[node.function]}', {{}})::TIMESTAMP"
            return _shaped(shape, "floating_timestamp", argument)
        self._accepts(node, argument, _AGGREGATES[node.function])
        return _shaped(f"{node.function}({{}})", argument.type, argument)

    @staticmethod
    def _accepts(node: Call, argument: Fragment, types: frozenset[str]) -> None:
        if argument.type not in types:
            raise _mismatch(f"{node.function} does not take values of type {argument.type}")


def _shaped(shape: str, type_: str, *parts: Fragment) -> Fragment:
    sql = shape.format(*(part.sql for part in parts))
    return Fragment(sql, tuple(value for part in parts for value in part.parameters), type_)


def _literal(node: Text, wanted: str) -> Fragment:
    """A text literal as a value of another type."""
    value = read_text(node.value, wanted)
    if value is None:
        raise _mismatch(f"{node.value!r} is not a {wanted}")
    return Fragment(PARAMETERS[wanted], (value,), wanted)


def _mismatch(message: str) -> SodaError:
    return bad_query("type-mismatch", f"Type mismatch: {message}")
