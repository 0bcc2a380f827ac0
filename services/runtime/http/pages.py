"""One page of an API's records, and which of them a window takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from contracts.loads import START_OF_TIME, Slice
from services.runtime.failures import PermanentError
from services.runtime.http.answers import BrokenAnswerError
from services.runtime.http.documents import Number, bytes_of, visit_records
from services.runtime.http.moments import moment_of

DIGEST_BYTES = 16
MARGIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Cursors from ``start`` (inclusive) to ``end`` (exclusive), UTC."""

    start: datetime
    end: datetime
    is_first: bool
    """Whether nothing was read before it."""

    @classmethod
    def of(cls, slice_: Slice) -> "Window":
        """The window of a slice.

        Raises:
            PermanentError: its bounds are no moments.
        """
        start, end = moment_of(slice_.start), moment_of(slice_.end)
        if start is None or end is None:
            raise PermanentError(f"a slice from {slice_.start!r} to {slice_.end!r} is none in time")
        return cls(start, end, slice_.start == START_OF_TIME)

    @property
    def asked(self) -> datetime:
        """The lower bound to ask an API for, in whole seconds.

        It is early, so that an API that takes it as exclusive or reads seconds only leaves nothing out; what comes too
        early is not taken.
        """
        return self.start if self.is_first else self.start.replace(microsecond=0) - MARGIN

    def takes(self, moment: datetime | None) -> bool:
        """Whether a record belongs here. One without a readable cursor does: whoever judges it will say so.

        So does one that is older than all time there is: no other window would ever take it.
        """
        if moment is None:
            return True
        return moment < self.end and (moment >= self.start or self.is_first)


@dataclass(frozen=True, slots=True)
class Page:
    """What one answer holds for a window."""

    lines: list[bytes]
    """The window's records, each as the source wrote it, with the newline that ends it."""
    received: int
    """Records of the answer, in the window or not."""
    beyond: int
    """Those at or after the window's end."""
    digest: bytes
    """Of all records: equal for two answers with the same ones."""
    next_cursor: str | None


def page_of(body: bytes, *, records: str | None, cursor: str, next_cursor: str | None, window: Window) -> Page:
    """Read an answer.

    Args:
        body: the answer.
        records: member that holds the records; None: the answer is the array.
        cursor: member of a record that says when it changed.
        next_cursor: member of the answer that says where the next page starts; None: there is none to look for.
        window: which records are wanted.

    Raises:
        BrokenAnswerError: it is not the JSON that the declaration says, as a whole.
    """
    lines: list[bytes] = []
    digest = blake2b(digest_size=DIGEST_BYTES)
    received = beyond = 0

    def visit(record: Any, text: str) -> None:
        nonlocal received, beyond
        line = bytes_of(text) + b"\n"
        digest.update(line)
        moment = _moment_in(record, cursor)
        received += 1
        beyond += moment is not None and moment >= window.end
        if window.takes(moment):
            lines.append(line)

    others = visit_records(body, records, visit)
    following = None if next_cursor is None else _next(others, next_cursor)
    return Page(lines, received, beyond, digest.digest(), following)


def _moment_in(record: Any, cursor: str) -> datetime | None:
    value = record.get(cursor) if isinstance(record, dict) else None
    return moment_of(value) if isinstance(value, str) and not isinstance(value, Number) else None


def _next(others: Mapping[str, Any], member: str) -> str | None:
    """The next page's cursor; None at the end, where it is absent, null or empty."""
    value = others.get(member)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BrokenAnswerError(f"{member!r} is neither text nor a number")
    return str(value)
