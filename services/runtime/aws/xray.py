"""Subsegments for X-Ray, in the daemon's own protocol: one datagram of JSON each, sent when the block ends.

A datagram that nobody receives is lost without an error, which is all that tracing may cost the work it watches. Each
subsegment names its parent itself and goes out alone, so tasks that overlap need no common stack.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from json import dumps
from secrets import token_hex
from typing import Any

import structlog

from services.runtime.failures import BadDeclarationError
from services.runtime.tracing import own_trace

log = structlog.get_logger()

HEADER = b'{"format": "json", "version": 1}\n'
LAMBDA, DAEMON = "AWS_LAMBDA_RUNTIME_API", "AWS_XRAY_DAEMON_ADDRESS"
HOST, PORT = "127.0.0.1", 2000
"""Where the daemon listens if nobody says otherwise."""
ANNOTATED = ("run_id", "pipeline", "segment_id", "chunk_id")
"""Ids of log lines by which traces can be searched, too."""
LONGEST_TEXT = 1_000

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a subsegment hangs."""

    root: str
    parent: str


_open: ContextVar[_Place | None] = ContextVar("open_subsegment", default=None)


class XrayRecorder:
    """Records blocks of one service's work.

    In Lambda they are children of the invocation's segment, which Lambda itself records. A worker has none, so each
    outermost block of it comes with a segment, named after the service, in the trace of the message.
    """

    def __init__(self, service: str, send: Send, *, in_lambda: bool, seconds: Callable[[], float] = time.time) -> None:
        self._service = service
        self.send = send
        self._in_lambda = in_lambda
        self._seconds = seconds

    @contextmanager
    def in_subsegment(self, name: str) -> Iterator[None]:
        """Record a block, with its ids as annotations; outside of any sampled trace it is only executed."""
        outer, trace = _open.get(), own_trace()
        segment: dict[str, Any] | None = None
        if outer is None:
            if trace is None or trace.sampled is False or (self._in_lambda and trace.parent is None):
                yield
                return
            place = _Place(trace.root, trace.parent or "")
            if not self._in_lambda:
                segment = self._begun(self._service, place)
                place = _Place(trace.root, segment["id"])
        else:
            place = outer
        block = self._begun(name, place) | {"type": "subsegment"}
        token = _open.set(_Place(place.root, block["id"]))
        try:
            yield
        except BaseException as error:
            self._end([block, segment], _cause(error))
            raise
        else:
            self._end([block, segment], {})
        finally:
            _open.reset(token)

    def _begun(self, name: str, place: _Place) -> dict[str, Any]:
        begun = {"name": name, "id": token_hex(8), "trace_id": place.root, "start_time": self._seconds()}
        return begun | ({"parent_id": place.parent} if place.parent else {})

    def _end(self, documents: list[dict[str, Any] | None], cause: Mapping[str, Any]) -> None:
        ids = structlog.contextvars.get_contextvars()
        annotations = {name: str(ids[name])[:LONGEST_TEXT] for name in ANNOTATED if name in ids}
        ended = {"end_time": self._seconds(), "annotations": annotations, **cause}
        for document in documents:
            if document is not None:
                self.send(HEADER + dumps(document | ended, separators=(",", ":")).encode())


def _cause(error: BaseException) -> dict[str, Any]:
    exception = {"id": token_hex(8), "type": type(error).__name__, "message": str(error)[:LONGEST_TEXT]}
    return {"fault": True, "cause": {"exceptions": [exception]}}


class Daemon:
    """Sends datagrams to an X-Ray daemon, whether or not there is one."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._socket: socket.socket | None = None
        self._is_lost = False
        self._warned = False

    def __call__(self, datagram: bytes) -> None:
        """Send one; what the system refuses to send is said once, and never stops the work."""
        if self._is_lost:
            return
        try:
            if self._socket is None:
                self._is_lost = True  # unless it is found: looking for it takes time, so it is looked for once
                self._socket = _connected(self.address)
                self._is_lost = False
            self._socket.send(datagram)
        except OSError as error:
            if not self._warned:
                log.warning("subsegments do not reach the X-Ray daemon", address=self.address, error=str(error))
                self._warned = True


def _connected(address: tuple[str, int]) -> socket.socket:
    # Connected, so that a host is looked up once, and never blocking: a full buffer loses a datagram.
    family, kind, protocol, _, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    opened.connect(found)
    return opened


def xray_recorder(service: str, environ: Mapping[str, str]) -> XrayRecorder | None:
    """The recorder of a service, None where tracing is off: outside Lambda without the address of a daemon.

    Raises:
        BadDeclarationError: the address is neither ``host:port`` nor ``tcp:host:port udp:host:port``.
    """
    in_lambda, address = LAMBDA in environ, environ.get(DAEMON)
    if not in_lambda and not address:
        return None
    return XrayRecorder(service, Daemon(*_address(address or f"{HOST}:{PORT}")), in_lambda=in_lambda)


def _address(text: str) -> tuple[str, int]:
    parts = text.split()
    udp = next((part.removeprefix("udp:") for part in parts if part.startswith("udp:")), parts[0] if parts else "")
    host, _, port = udp.rpartition(":")
    if not host or not port.isdecimal():
        raise BadDeclarationError(f"{DAEMON} is {text!r}, and should be host:port")
    return host, int(port)
