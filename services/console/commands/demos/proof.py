"""What every part of the demo ends with: expected and seen side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.console.output import emit_table
from services.runtime.failures import PermanentError


@dataclass(frozen=True, slots=True)
class Line:
    """One number that was foreseen, and what became of it."""

    what: str
    expected: int
    seen: int
    at_least: bool = False
    """More is right, too: a queue may deliver more often than the demo did."""
    at_most: bool = False
    """Less is right, too."""

    @property
    def holds(self) -> bool:
        """Whether it came as foreseen."""
        if self.at_least:
            return self.seen >= self.expected
        return self.seen <= self.expected if self.at_most else self.seen == self.expected


def show_lines(title: str, lines: Sequence[Line]) -> None:
    """The lines as a table."""
    emit_table(title, ["what", "expected", "seen"], [[line.what, line.expected, line.seen] for line in lines])


def prove(pipeline: str, lines: Sequence[Line]) -> None:
    """The demo is a proof: it fails when what was seen is not what was foreseen.

    Raises:
        PermanentError: naming the first difference.
    """
    for line in lines:
        if not line.holds:
            raise PermanentError(f"demo: {pipeline}: {line.what}: expected {line.expected}, seen {line.seen}")
