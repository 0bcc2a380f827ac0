"""What a SoQL clause says, as a tree of values."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or the alias of a selected expression."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text literal; it takes the type of what it is compared with."""

    value: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Truth:
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Null:
    """``null``."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of expressions; ``count(*)`` has no arguments."""

    function: str
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions of which all (``and``) or any (``or``) must hold."""

    operator: str
    operands: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Like:
    """A text and a pattern with ``%`` and ``_``."""

    operand: "Node"
    pattern: "Node"


@dataclass(frozen=True, slots=True)
class In:
    """One of several values."""

    operand: "Node"
    choices: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Between:
    """From low to high, both included."""

    operand: "Node"
    low: "Node"
    high: "Node"


@dataclass(frozen=True, slots=True)
class IsNull:
    """The value is missing."""

    operand: "Node"


Node = Column | Text | Number | Truth | Null | Call | Not | Logic | Comparison | Like | In | Between | IsNull


def children(node: Node) -> "tuple[Node, ...]":
    """The expressions that an expression is made of."""
    found: tuple[Node, ...] = ()
    match node:
        case Call():
            found = node.arguments
        case Not() | IsNull():
            found = (node.operand,)
        case Logic():
            found = node.operands
        case Comparison():
            found = (node.left, node.right)
        case Like():
            found = (node.operand, node.pattern)
        case In():
            found = (node.operand, *node.choices)
        case Between():
            found = (node.operand, node.low, node.high)
    return found


@dataclass(frozen=True, slots=True)
class Selected:
    """One item of ``$select``; ``*`` has no expression."""

    expression: Node | None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One item of ``$order``; missing values come last unless it is descending or says otherwise."""

    expression: Node
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query, parsed."""

    select: tuple[Selected, ...] = (Selected(None),)
    where: Node | None = None
    group: tuple[Node, ...] = ()
    having: Node | None = None
    order: tuple[Order, ...] = ()
    limit: int = 1_000
    offset: int = 0
