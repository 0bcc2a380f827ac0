"""The X-Ray trace that work belongs to: read from headers, carried on to whatever is sent meanwhile.

Two traces matter. The *carried* one comes with a message and goes on with the commands and facts that handling it
sends, so that one id finds all of them. The *own* one is of the Lambda invocation that happens to do the work; X-Ray
hangs subsegments there, and it is another one at every hop.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Self

ROOT = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
PARENT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace, and the segment in it that what follows belongs under. ``sampled`` None: nobody has decided."""

    root: str
    parent: str | None = None
    sampled: bool | None = None

    @classmethod
    def read(cls, header: str | None) -> Self | None:
        """The trace of an X-Ray header (``Root=…;Parent=…;Sampled=…``, more parts are ignored), None without one.

        What does not look like a header is none: it came with somebody's message, and must not stop the work.
        """
        if not header:
            return None
        parts = dict(part.strip().partition("=")[::2] for part in header.split(";"))
        root, parent = parts.get("Root", ""), parts.get("Parent", "")
        if not ROOT.fullmatch(root):
            return None
        return cls(
            root,
            parent if PARENT.fullmatch(parent) else None,
            {"0": False, "1": True}.get(parts.get("Sampled", "")),
        )

    @classmethod
    def start(cls, now: datetime) -> Self:
        """A new trace that begins now."""
        return cls(f"1-{int(now.timestamp()):08x}-{token_hex(12)}")

    @property
    def header(self) -> str:
        """The text in which it travels."""
        parts = [f"Root={self.root}"]
        if self.parent is not None:
            parts.append(f"Parent={self.parent}")
        if self.sampled is not None:
            parts.append(f"Sampled={int(self.sampled)}")
        return ";".join(parts)


_carried: ContextVar[Trace | None] = ContextVar("carried_trace", default=None)
_own: ContextVar[Trace | None] = ContextVar("own_trace", default=None)


def carried_trace() -> Trace | None:
    """The trace of the message that is being handled; else that of the invocation."""
    return _carried.get() or _own.get()


def carried_header() -> str | None:
    """The header to put into what is sent now, None if nothing is being handled."""
    trace = carried_trace()
    return None if trace is None else trace.header


def own_trace() -> Trace | None:
    """The trace that subsegments belong to: the invocation's, or where there is none the message's."""
    return _own.get() or _carried.get()


@contextmanager
def carrying(trace: Trace) -> Iterator[None]:
    """Carry a trace on to whatever the block sends."""
    token = _carried.set(trace)
    try:
        yield
    finally:
        _carried.reset(token)


@contextmanager
def invoked_in(trace: Trace | None) -> Iterator[None]:
    """Work in the trace of an invocation, if it has one."""
    token = _own.set(trace)
    try:
        yield
    finally:
        _own.reset(token)
