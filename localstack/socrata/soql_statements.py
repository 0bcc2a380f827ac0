"""Whole SoQL queries into SQL statements over one dataset's table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soda_errors import bad_query
from soql_expressions import SEQUENCE, Expressions, Fragment, is_aggregate, quoted
from soql_tree import Column, Node, Null, Number, Query, Selected, Text, Truth, children

LITERAL = "$text"
"""Suffix of the table's columns that hold values of other types than text as they were given."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the answer; ``literal``: the value is what stands on the wire."""

    name: str
    type: str
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement. If the whole rows are asked for it gives their numbers, else a column for each field."""

    sql: str
    parameters: Sequence[Any]
    fields: Sequence[Field]
    whole_rows: bool


def compile_query(query: Query, columns: Mapping[str, str], table: str, visible: Fragment) -> Statement:
    """The statement of a query over those rows of a table that are ``visible``.

    Raises:
        SodaError: 400, the query names what is not there, or asks for single values of grouped rows.
    """
    names = _names(query.select, columns)
    aliases = {
        alias: item.expression for item, alias in zip(query.select, names, strict=True) if alias and item.expression
    }
    expressions = Expressions(columns, aliases)
    grouped = bool(query.group) or _aggregates(query, expressions)
    if query.having is not None and not grouped:
        raise bad_query("having-without-group", "$having needs $group or an aggregate")
    fields, selected = _selected(query.select, names, columns, grouped=grouped)
    whole_rows = not grouped and all(item.expression is None for item in query.select)
    where = [visible] if query.where is None else [visible, _where(query.where, expressions)]
    pieces = [
        Fragment(f"SELECT {SEQUENCE}" if whole_rows else "SELECT ", (), ""),
        *([] if whole_rows else [_joined(selected)]),
        Fragment(f" FROM {quoted(table)} WHERE ", (), ""),
        _joined(where, " AND "),
    ]
    if grouped:
        pieces += _grouping(query, expressions)
    pieces += _ordering(query, expressions, grouped=grouped)
    pieces.append(Fragment(" LIMIT ? OFFSET ?", (query.limit, query.offset), ""))
    parameters = [value for piece in pieces for value in piece.parameters]
    return Statement("".join(piece.sql for piece in pieces), parameters, fields, whole_rows)


def _names(select: Sequence[Selected], columns: Mapping[str, str]) -> list[str]:
    """The field name of each selected item; empty for ``*``."""
    names: list[str] = []
    taken = set(columns) if any(item.expression is None for item in select) else set()
    for item in select:
        if item.expression is None:
            names.append("")
            continue
        name = item.alias or _implicit(item.expression)
        if name in taken and item.alias is None and not isinstance(item.expression, Column):
            name = next(f"{name}_{number}" for number in range(1, len(select) + 1) if f"{name}_{number}" not in taken)
        if name in taken:
            raise bad_query("duplicate-alias", f"Duplicate alias: {name}", name=name)
        taken.add(name)
        names.append(name)
    return names


def _implicit(node: Node) -> str:
    """The name of a field that the query gives none: ``max(created_date)`` is ``max_created_date``."""
    if isinstance(node, Column):
        return node.name
    words = [getattr(node, "function", type(node).__name__.lower()), *map(_implicit, children(node))]
    return re.sub(r"[^a-z0-9_]+", "_", "_".join(words)).strip("_")


def _aggregates(query: Query, expressions: Expressions) -> bool:
    """Whether an aggregate is selected or sorted by."""
    roots = [item.expression for item in query.select if item.expression is not None]
    roots += [order.expression for order in query.order]
    return any(is_aggregate(node) for root in roots for node in expressions.nodes(root))


def _selected(
    select: Sequence[Selected], names: Sequence[str], columns: Mapping[str, str], *, grouped: bool
) -> tuple[list[Field], list[Fragment]]:
    expressions = Expressions(columns)
    fields: list[Field] = []
    fragments: list[Fragment] = []
    for item, alias in zip(select, names, strict=True):
        if item.expression is None:
            if grouped:
                raise bad_query("column-not-in-group-bys", "* cannot be selected from grouped rows")
            wanted: list[tuple[str, Node]] = [(name, Column(name)) for name in columns]
        else:
            wanted = [(alias, item.expression)]
        for name, node in wanted:
            fragment = expressions.compile(node)
            literal = not grouped and isinstance(node, Column)
            if literal and isinstance(node, Column) and columns.get(node.name) in {"number", "floating_timestamp"}:
                fragment = Fragment(quoted(node.name + LITERAL), (), fragment.type)
            fields.append(Field(name, fragment.type, literal))
            fragments.append(fragment)
    return fields, fragments


def _where(node: Node, expressions: Expressions) -> Fragment:
    if any(is_aggregate(part) for part in expressions.nodes(node)):
        raise bad_query("aggregate-in-ungrouped-context", "$where cannot contain an aggregate; use $having")
    return expressions.condition(node, "$where")


def _grouping(query: Query, expressions: Expressions) -> list[Fragment]:
    keys = [expressions.resolved(node)[0] for node in query.group]
    compiled = [expressions.compile(node) for node in query.group]
    if any(is_aggregate(key) or fragment.parameters for key, fragment in zip(keys, compiled, strict=True)):
        raise bad_query("invalid-group-by", "$group takes columns and date_trunc of columns")
    order = [item.expression for item in query.order]
    selected = [item.expression for item in query.select if item.expression is not None]
    for node in [*selected, *order, *([query.having] if query.having else [])]:
        _check_grouped(node, keys, expressions)
    pieces = [Fragment(" GROUP BY ", (), ""), _joined(compiled)] if compiled else []
    if query.having is not None:
        pieces += [Fragment(" HAVING ", (), ""), expressions.condition(query.having, "$having")]
    return pieces


def _check_grouped(node: Node, keys: Sequence[Node], expressions: Expressions) -> None:
    meaning, inside = expressions.resolved(node)
    if meaning in keys or is_aggregate(meaning):
        return
    if isinstance(meaning, Column):
        raise bad_query("column-not-in-group-bys", f"Column not in group bys: {meaning.name}", column=meaning.name)
    for child in children(meaning):
        _check_grouped(child, keys, inside)


def _ordering(query: Query, expressions: Expressions, *, grouped: bool) -> list[Fragment]:
    """What the rows are sorted by; rows that compare equal keep one order, so that pages fit together."""
    pieces: list[Fragment] = []
    for item in query.order:
        if isinstance(item.expression, Text | Number | Truth | Null):
            raise bad_query("invalid-order-by", "$order takes expressions over columns")
        fragment = expressions.compile(item.expression)
        direction = "DESC" if item.descending else "ASC"
        nulls = "FIRST" if item.nulls_first else "LAST"
        pieces.append(Fragment(f"{fragment.sql} {direction} NULLS {nulls}", fragment.parameters, ""))
    if grouped:
        pieces += [expressions.compile(key) for key in query.group]
    else:
        pieces.append(Fragment(SEQUENCE, (), ""))
    return [Fragment(" ORDER BY ", (), ""), _joined(pieces)] if pieces else []


def _joined(fragments: Sequence[Fragment], between: str = ", ") -> Fragment:
    parameters = tuple(value for fragment in fragments for value in fragment.parameters)
    return Fragment(between.join(fragment.sql for fragment in fragments), parameters, "")
