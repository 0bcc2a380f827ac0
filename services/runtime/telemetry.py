"""Metrics and traces as a port; logs go through structlog (``configure_logging``)."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

import structlog
from structlog.typing import EventDict

Unit = Literal["Count", "Count/Second", "Milliseconds", "Bytes", "Seconds"]


class Telemetry(Protocol):
    """What a service reports of itself."""

    def metric(self, name: str, value: float, unit: Unit = "Count", **dimensions: str) -> None:
        """Record one value of a metric; the stack and the service are dimensions of each, these come on top."""
        ...

    def flush(self) -> None:
        """Hand over what was recorded since the last flush."""
        ...

    def segment(self, name: str) -> AbstractContextManager[None]:
        """Trace a part of the work (list, get, validate, merge, commit, …) under the ids of its log lines."""
        ...


@contextmanager
def correlated(**ids: str | list[str]) -> Iterator[None]:
    """Add ids (run_id, segment_id, message_id, …) to every log line of a block."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield


def configure_logging(service: str, level: str = "INFO") -> None:
    """Write one JSON object a line to standard error, with the service's name and the correlation ids."""

    def name_service(_: object, __: str, event: EventDict) -> EventDict:
        # Not among the context's ids: those of one Lambda invocation end with it, and the container lives on.
        event.setdefault("service", service)
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
