"""SoQL clauses into trees: a recursive descent over the tokens of one clause.

or-expression   = and-expression { "or" and-expression }
and-expression  = condition { "and" condition }
condition       = "not" condition | comparison
comparison      = value [ operator value | [ "not" ] ( "in" … | "like" … | "between" … ) | "is" [ "not" ] "null" ]
value           = text | [ "-" ] number | "true" | "false" | "null" | name [ "(" … ")" ] | "(" or-expression ")"
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from soda_errors import SodaError
from soql_tokens import Token, syntax_error, tokenize
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

T = TypeVar("T")
COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
MAX_DEPTH = 100
"""Levels of parentheses, calls and negations; far below what would exhaust Python's stack."""


def parse_condition(text: str) -> Node:
    """``$where`` and ``$having``.

    Raises:
        SodaError: 400, the text is not SoQL; so do the other parsers here.
    """
    return _whole(text, _Parser.expression)


def parse_select(text: str) -> tuple[Selected, ...]:
    """``$select``."""
    return _whole(text, lambda parser: parser.listed(parser.selected))


def parse_group(text: str) -> tuple[Node, ...]:
    """``$group``."""
    return _whole(text, lambda parser: parser.listed(parser.expression))


def parse_order(text: str) -> tuple[Order, ...]:
    """``$order``."""
    return _whole(text, lambda parser: parser.listed(parser.ordered))


def _whole(text: str, production: "Callable[[_Parser], T]") -> T:
    parser = _Parser(text)
    result = production(parser)
    parser.expect("end", "")
    return result


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _accept(self, kind: str, *values: str) -> Token | None:
        token = self._token
        if token.kind != kind or (values and token.value not in values):
            return None
        self._next += 1
        return token

    def expect(self, kind: str, value: str) -> None:
        """Take this very token."""
        if self._accept(kind, value) is None:
            raise self._unexpected(repr(value) if value else "its end")

    def _unexpected(self, wanted: str) -> SodaError:
        token = self._token
        found = "the end of the query" if token.kind == "end" else repr(token.value)
        return syntax_error(self._text, token.at, f"expected {wanted} but found {found}")

    def listed(self, item: Callable[[], T]) -> tuple[T, ...]:
        """One item or more, between commas."""
        items = [item()]
        while self._accept("symbol", ","):
            items.append(item())
        return tuple(items)

    def selected(self) -> Selected:
        """``*`` or an expression, with or without an alias."""
        if self._accept("symbol", "*"):
            return Selected(None)
        expression = self.expression()
        named = self._accept("word", "as")
        alias = self._accept("name")
        if named and alias is None:
            raise self._unexpected("an alias")
        return Selected(expression, alias.value if alias else None)

    def ordered(self) -> Order:
        """An expression and its direction."""
        expression = self.expression()
        direction = self._accept("word", "asc", "desc")
        descending = direction is not None and direction.value == "desc"
        nulls_first = descending
        if self._accept("word", "nulls", "null"):
            place = self._accept("word", "first", "last")
            if place is None:
                raise self._unexpected("'first' or 'last'")
            nulls_first = place.value == "first"
        return Order(expression, descending, nulls_first)

    def expression(self) -> Node:
        """Any expression."""
        return self._logic("or", lambda: self._logic("and", self._condition))

    def _logic(self, operator: str, operand: Callable[[], Node]) -> Node:
        operands = [operand()]
        while self._accept("word", operator):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else Logic(operator, tuple(operands))

    def _condition(self) -> Node:
        if self._accept("word", "not"):
            return Not(self._deeper(self._condition))
        left = self._value()
        operator = self._accept("symbol", *COMPARISONS)
        if operator is not None:
            return Comparison(COMPARISONS[operator.value], left, self._value())
        if self._accept("word", "is"):
            negated = self._accept("word", "not")
            self.expect("word", "null")
            return Not(IsNull(left)) if negated else IsNull(left)
        negated = self._accept("word", "not")
        found = self._membership(left)
        if found is None:
            if negated:
                raise self._unexpected("'in', 'like' or 'between'")
            return left
        return Not(found) if negated else found

    def _membership(self, left: Node) -> Node | None:
        if self._accept("word", "in"):
            self.expect("symbol", "(")
            choices = self.listed(self.expression)
            self.expect("symbol", ")")
            return In(left, choices)
        if self._accept("word", "like"):
            return Like(left, self._value())
        if self._accept("word", "between"):
            low = self._value()
            self.expect("word", "and")
            return Between(left, low, self._value())
        return None

    def _value(self) -> Node:
        if self._accept("symbol", "("):
            inner = self._deeper(self.expression)
            self.expect("symbol", ")")
            return inner
        minus = self._accept("symbol", "-")
        number = self._accept("number")
        if number is not None:
            value = Decimal(number.value)
            return Number(-value if minus else value)
        if minus:
            raise self._unexpected("a number")
        return self._literal() or self._named()

    def _literal(self) -> Node | None:
        text = self._accept("text")
        if text is not None:
            return Text(text.value)
        word = self._accept("word", "true", "false", "null")
        if word is None:
            return None
        return Null() if word.value == "null" else Truth(word.value == "true")

    def _named(self) -> Node:
        name = self._accept("name")
        if name is None:
            raise self._unexpected("an expression")
        if not self._accept("symbol", "("):
            return Column(name.value)
        if self._accept("symbol", "*"):
            arguments: tuple[Node, ...] = ()
        else:
            arguments = self._deeper(lambda: self.listed(self.expression))
        self.expect("symbol", ")")
        return Call(name.value, arguments)

    def _deeper(self, production: Callable[[], T]) -> T:
        if self._depth == MAX_DEPTH:
            raise syntax_error(self._text, self._token.at, f"more than {MAX_DEPTH} levels")
        self._depth += 1
        try:
            return production()
        finally:
            self._depth -= 1
