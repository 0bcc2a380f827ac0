"""Metrics as CloudWatch embedded metric format (EMF), and X-Ray subsegments where tracing is on.

In Lambda one JSON line on standard output becomes metrics without a call to any service; a worker may give its own
stream, for example the one its CloudWatch agent reads.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from aws_lambda_powertools.metrics import EphemeralMetrics

from services.runtime.aws.xray import xray_recorder
from services.runtime.settings import Settings
from services.runtime.telemetry import Unit

NAMESPACE = "Tidegate"
STACK, SERVICE = "stack", "service"
"""Dimensions of every metric. The stack's keeps two stacks of one account and region apart."""
MOST_VALUES = 99
"""Values, and metrics, in one EMF object. The format allows 100, at which Powertools would print on its own."""

Dimensions = tuple[tuple[str, str], ...]


class Recorder(Protocol):
    """What traces blocks of work."""

    def in_subsegment(self, name: str) -> AbstractContextManager[None]:
        """Record a block."""
        ...


def telemetry_of(service: str, environ: Mapping[str, str]) -> "EmfTelemetry":
    """The telemetry of a service that runs in this environment: metrics always, traces where there is a daemon.

    Raises:
        BadDeclarationError: the stack's name or the daemon's address is not one.
    """
    stack = Settings.read(environ).stack
    return EmfTelemetry(service, stack, recorder=xray_recorder(service, environ))


class EmfTelemetry:
    """``Telemetry`` of one service of a stack.

    ``stream`` defaults to standard output; ``recorder`` (see ``xray_recorder``) to none, and then a segment costs
    nothing.
    """

    def __init__(
        self,
        service: str,
        stack: str,
        *,
        namespace: str = NAMESPACE,
        stream: TextIO | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._stack = stack
        self._namespace = namespace
        self._stream = stream
        self._recorder = recorder
        self._pending: dict[Dimensions, dict[str, tuple[Unit, list[float]]]] = {}

    def metric(self, name: str, value: float, unit: Unit = "Count", **dimensions: str) -> None:
        """Record one value; a name must keep its unit between two flushes of the same dimensions.

        A full EMF object is written at once.

        Raises:
            ValueError: another unit than before, or a dimension that every metric has already.
        """
        if taken := dimensions.keys() & {STACK, SERVICE}:
            raise ValueError(f"metric {name}: every metric has the dimension {min(taken)} already")
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
        return nullcontext() if self._recorder is None else self._recorder.in_subsegment(name)

    def _write(self, dimensions: Dimensions, group: dict[str, tuple[Unit, list[float]]]) -> None:
        metrics = EphemeralMetrics(namespace=self._namespace, service=self._service)
        metrics.add_dimension(STACK, self._stack)
        for dimension, text in dimensions:
            metrics.add_dimension(dimension, text)
        for name, (unit, values) in group.items():
            for value in values:
                metrics.add_metric(name, unit, value)
        line = json.dumps(metrics.serialize_metric_set(), separators=(",", ":"))
        # Looked up now: whoever runs the service may have put another stream in its place since the import.
        print(line, file=self._stream or sys.stdout, flush=True)
