"""Telemetry that remembers what it was told."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from services.runtime.telemetry import Unit


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    name: str
    value: float
    unit: Unit
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeTelemetry:
    """``Telemetry`` whose ``published`` points are those flushed, and whose ``segments`` are paths (outer, inner)."""

    pending: list[Point] = field(default_factory=list)
    published: list[Point] = field(default_factory=list)
    segments: list[tuple[str, ...]] = field(default_factory=list)
    _open: ContextVar[tuple[str, ...]] = field(default_factory=lambda: ContextVar("open_segments", default=()))

    def metric(self, name: str, value: float, unit: Unit = "Count", **dimensions: str) -> None:
        """See the port; like EMF, it refuses one name in two units."""
        point = Point(name, value, unit, tuple(sorted(dimensions.items())))
        for other in self.pending:
            if (other.name, other.dimensions) == (name, point.dimensions) and other.unit != unit:
                raise ValueError(f"metric {name} is in {other.unit}, not {unit}")
        self.pending.append(point)

    def flush(self) -> None:
        """See the port."""
        self.published += self.pending
        self.pending = []

    @contextmanager
    def segment(self, name: str) -> Iterator[None]:
        """See the port."""
        path = (*self._open.get(), name)
        self.segments.append(path)
        token = self._open.set(path)
        try:
            yield
        finally:
            self._open.reset(token)
