"""Metrics as CloudWatch embedded metric format (EMF), and X-Ray subsegments where tracing is on.

In Lambda one JSON line on standard output becomes metrics without a call to any service; a worker may give its own
stream, for example the one its CloudWatch agent reads.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol, TextIO

from aws_lambda_powertools import Tracer
from aws_lambda_powertools.metrics import EphemeralMetrics

from services.runtime.telemetry import Unit

NAMESPACE = "Tidegate"
MOST_VALUES = 99
"""Values, and metrics, in one EMF object. The format allows 100, at which Powertools would print on its own."""

Dimensions = tuple[tuple[str, str], ...]


class Recorder(Protocol):
    """The part of an X-Ray recorder that is used here."""

    def in_subsegment(self, name: str) -> AbstractContextManager[object]:
        """Open a subsegment for a block."""
        ...


def xray_recorder(service: str) -> Recorder | None:
    """The recorder of Powertools' Tracer, or None without the X-Ray SDK or outside Lambda, where it cannot record.

    Nothing is patched: only the segments that a service names itself are traced.
    """
    if find_spec("aws_xray_sdk") is None:
        return None
    tracer = Tracer(service=service, auto_patch=False)
    return None if tracer.disabled else tracer.provider


class EmfTelemetry:
    """``Telemetry`` of one service.

    ``stream`` defaults to standard output; ``recorder`` (see ``xray_recorder``) to none, and then a segment costs
    nothing.
    """

    def __init__(
        self,
        service: str,
        *,
        namespace: str = NAMESPACE,
        stream: TextIO | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._namespace = namespace
        self._stream = stream
        self._recorder = recorder
        self._pending: dict[Dimensions, dict[str, tuple[Unit, list[float]]]] = {}
        self._open: list[object] = []
        self._mine: ContextVar[tuple[object, ...]] = ContextVar("open_segments", default=())

    def metric(self, name: str, value: float, unit: Unit = "Count", **dimensions: str) -> None:
        """Record one value; a name must keep its unit between two flushes of the same dimensions.

        A full EMF object is written at once.
        """
        key = tuple(sorted(dimensions.items()))
        group = self._pending.setdefault(key, {})
        known, values = group.setdefault(name, (unit, []))
        if known != unit:
            raise ValueError(f"metric {name} is in {known}, not {unit}")
        values.append(value)
        if len(values) == MOST_VALUES or len(group) == MOST_VALUES:
            self._write(key, self._pending.pop(key))

    def flush(self) -> None:
        """Write what was recorded since the last flush: one line of JSON for each set of dimensions."""
        pending, self._pending = self._pending, {}
        for dimensions, group in pending.items():
            self._write(dimensions, group)

    def segment(self, name: str) -> AbstractContextManager[None]:
        """Trace a part of the work as an X-Ray subsegment, if tracing is on."""
        return nullcontext() if self._recorder is None else self._traced(self._recorder, name)

    @contextmanager
    def _traced(self, recorder: Recorder, name: str) -> Iterator[None]:
        # The X-Ray SDK keeps one stack of open subsegments a thread, and tasks of one loop share it. A task whose
        # segments would not nest in what is open now is left untraced: closing another task's would be worse.
        if self._mine.get() != tuple(self._open):
            yield
            return
        me = object()
        self._open.append(me)
        token = self._mine.set(tuple(self._open))
        try:
            with recorder.in_subsegment(name):
                yield
        finally:
            self._mine.reset(token)
            self._open.remove(me)

    def _write(self, dimensions: Dimensions, group: dict[str, tuple[Unit, list[float]]]) -> None:
        metrics = EphemeralMetrics(namespace=self._namespace, service=self._service)
        for dimension, text in dimensions:
            metrics.add_dimension(dimension, text)
        for name, (unit, values) in group.items():
            for value in values:
                metrics.add_metric(name, unit, value)
        line = json.dumps(metrics.serialize_metric_set(), separators=(",", ":"))
        # Looked up now: whoever runs the service may have put another stream in its place since the import.
        print(line, file=self._stream or sys.stdout, flush=True)
