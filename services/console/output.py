"""What commands print: results on standard output, progress and notes on standard error."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

LINE_EVERY = 10
"""Without a terminal, progress is a plain line at every tenth of the whole."""

PLAIN_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""

_out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
_err = Console(stderr=True, soft_wrap=True)


def note(text: str) -> None:
    """A line for people, on standard error."""
    _err.print(text, markup=False, highlight=False)


def say(text: str) -> None:
    """A line of the result, on standard output."""
    _out.print(text, markup=False, highlight=False)


def emit_json(value: Any) -> None:
    """The machine-readable result."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people; numbers stand to the right, and keys with brackets in them stay as they are."""
    table = Table(title=Text(title), title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    _out.print(table)


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def as_rows(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of uniform records."""
    columns = list(records[0]) if records else []
    return columns, [[record[column] for column in columns] for record in records]


class Meter(Protocol):
    """Progress of one piece of work."""

    def update(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Show how far it is; ``detail`` says it in more words."""
        ...


class _Bar:
    def __init__(self, progress: Progress, label: str, total: int | None) -> None:
        self._progress = progress
        self._label = label
        self._task = progress.add_task(label, total=total)

    def update(self, done: int, total: int | None = None, detail: str = "") -> None:
        label = f"{self._label}: {detail}" if detail else self._label
        self._progress.update(self._task, completed=done, total=total, description=label)


class _Lines:
    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._shown = -1

    def update(self, done: int, total: int | None = None, detail: str = "") -> None:
        self._total = self._total if total is None else total
        tenth = done * LINE_EVERY // self._total if self._total else done
        if tenth != self._shown:
            self._shown = tenth
            what = f"{done}" + (f" of {self._total}" if self._total is not None else "")
            note(f"{self._label}: {detail or what}")


@contextmanager
def meter(label: str, total: int | None = None) -> Iterator[Meter]:
    """Progress on standard error: a bar on a terminal, plain lines elsewhere."""
    if not _err.is_terminal:
        yield _Lines(label, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=_err, transient=True) as progress:
        yield _Bar(progress, label, total)
