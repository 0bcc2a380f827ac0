"""SoQL text becomes the tree it means, or one clear error."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from soda_errors import SodaError
from soql_parser import MAX_DEPTH, parse_condition, parse_group, parse_order, parse_select
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
    Order,
    Selected,
    Text,
    Truth,
)

A, B, C = Column("a"), Column("b"), Column("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = 'x'", Comparison("=", A, Text("x"))),
        ("a == 'x'", Comparison("=", A, Text("x"))),
        ("a <> 1", Comparison("!=", A, Number(Decimal(1)))),
        ("a>=-1.5e3", Comparison(">=", A, Number(Decimal(-1500)))),
        ("a = .5", Comparison("=", A, Number(Decimal("0.5")))),
        ("a = 'it''s'", Comparison("=", A, Text("it's"))),
        ("a = ''''", Comparison("=", A, Text("'"))),
        ("a = ''", Comparison("=", A, Text(""))),
        ("a = 'or b = ''1'''", Comparison("=", A, Text("or b = '1'"))),
        ("A = TRUE", Comparison("=", A, Truth(value=True))),
        ("a = null", Comparison("=", A, Null())),
        ("`and` = 1", Comparison("=", Column("and"), Number(Decimal(1)))),
        (":@computed_region_x = '1'", Comparison("=", Column(":@computed_region_x"), Text("1"))),
        ("a IS NOT NULL", Not(IsNull(A))),
        ("a in ('x', 'y')", In(A, (Text("x"), Text("y")))),
        ("a not in('x')", Not(In(A, (Text("x"),)))),
        ("a not like '%x_'", Not(Like(A, Text("%x_")))),
        ("count(*) > 1", Comparison(">", Call("count", ()), Number(Decimal(1)))),
        ("max( a ) > 1", Comparison(">", Call("max", (A,)), Number(Decimal(1)))),
    ],
)
def test_conditions(text: str, tree: Node) -> None:
    """Literals, names, operators and functions are what they stand for, in either case."""
    assert parse_condition(text) == tree


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a and b or c", "(a and b) or c"),
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not a = 1", "not (a = 1)"),
        ("a between 1 and 2 and b", "(a between 1 and 2) and b"),
        ("((a))", "a"),
        ("a = 1 and\n\tb = 2", "(a = 1) and (b = 2)"),
    ],
)
def test_what_binds_closer(text: str, same: str) -> None:
    """Comparison before not before and before or, and parentheses before all."""
    assert parse_condition(text) == parse_condition(same)


def test_long_conditions_are_flat() -> None:
    """A thousand alternatives are no deeper than two; so are a thousand choices."""
    tree = parse_condition(" or ".join(["a"] * 1_000))
    assert tree == Logic("or", (A,) * 1_000)
    assert parse_condition(f"a in ({', '.join(['1'] * 1_000)})") == In(A, (Number(Decimal(1)),) * 1_000)
    assert parse_condition("(" * (MAX_DEPTH - 1) + "a" + ")" * (MAX_DEPTH - 1)) == A


def test_selections_groups_and_orders() -> None:
    """Aliases with and without ``as``, the star among them, directions, and where missing values go."""
    assert parse_select("*, a, b c, count(*) AS n") == (
        Selected(None),
        Selected(A),
        Selected(B, "c"),
        Selected(Call("count", ()), "n"),
    )
    assert parse_group("a, date_trunc_ym(b)") == (A, Call("date_trunc_ym", (B,)))
    assert parse_order("a, b DESC, c asc nulls first") == (
        Order(A),
        Order(B, descending=True, nulls_first=True),
        Order(C, nulls_first=True),
    )
    assert parse_condition("a between 1 and 2") == Between(A, Number(Decimal(1)), Number(Decimal(2)))


@pytest.mark.parametrize(
    ("parse", "text", "problem", "column"),
    [
        (parse_condition, "a = 'x", "a text literal does not end", 5),
        (parse_condition, "a = ", "expected an expression but found the end of the query", 5),
        (parse_condition, "a = 1 b", "expected its end but found 'b'", 7),
        (parse_condition, "a = = 1", "expected an expression but found '='", 5),
        (parse_condition, "a not 1", "expected 'in', 'like' or 'between' but found '1'", 7),
        (parse_condition, "a in 1", "expected '(' but found '1'", 6),
        (parse_condition, "a in ()", "expected an expression but found ')'", 7),
        (parse_condition, "(a = 1", "expected ')' but found the end of the query", 7),
        (parse_condition, "a is 1", "expected 'null' but found '1'", 6),
        (parse_condition, "a between 1 or 2", "expected 'and' but found 'or'", 13),
        (parse_condition, "a = 1; drop table rows", "';'", 6),
        (parse_condition, "a = -'x'", "expected a number but found 'x'", 6),
        (parse_condition, 'a = "x"', "'\"'", 5),
        (parse_condition, "count() > 1", "expected an expression but found ')'", 7),
        (parse_condition, "(" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels", MAX_DEPTH + 2),
        (parse_condition, "not " * 5_000 + "a", f"more than {MAX_DEPTH} levels", 4 * (MAX_DEPTH + 1) + 1),
        (parse_select, "a,", "expected an expression but found the end of the query", 3),
        (parse_select, "a as", "expected an alias but found the end of the query", 5),
        (parse_order, "a down", "expected its end but found 'down'", 3),
        (parse_order, "a nulls", "expected 'first' or 'last' but found the end of the query", 8),
        (parse_group, "*", "expected an expression but found '*'", 1),
    ],
)
def test_what_is_no_soql(parse: Callable[[str], object], text: str, problem: str, column: int) -> None:
    """One error with status 400 says what was expected, what is there, and at which column."""
    with pytest.raises(SodaError) as refused:
        parse(text)
    assert (refused.value.status, refused.value.code) == (400, "query.soql.no-parse")
    assert str(refused.value).endswith(f": {problem} at column {column}")
    assert refused.value.data == {"query": text, "column": column}
