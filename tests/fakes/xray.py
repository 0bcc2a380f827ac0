"""A stand-in for the X-Ray recorder, with its habit of keeping one stack of open subsegments a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class FakeRecorder:
    """Remembers each subsegment's path; closing one closes whatever is on top, as the SDK does."""

    segments: list[tuple[str, ...]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    _stack: list[str] = field(default_factory=list)

    @contextmanager
    def in_subsegment(self, name: str) -> Iterator[None]:
        """Open a subsegment for a block."""
        self._stack.append(name)
        self.segments.append(tuple(self._stack))
        try:
            yield
        finally:
            self.closed.append(self._stack.pop())
