"""HTTP for the S3 stub: as much of it as S3's clients use."""

import asyncio
from collections import deque
from typing import Protocol
from urllib.parse import parse_qsl

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END = b"\r\n"


class Answers(Protocol):
    """What turns requests into answers."""

    def door(self, path: str, query: dict[str, str]) -> bytes:
        """Answer one of the stub's own requests."""
        ...

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        """Answer one S3 request."""
        ...


class Delay:
    """Writes answers after the latency, in order, with a single timer for all connections."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: deque[tuple[float, asyncio.WriteTransport, bytes]] = deque()

    def send(self, transport: asyncio.WriteTransport, answer: bytes) -> None:
        """Write now if there is no latency, else when it has passed."""
        if not self.seconds and not self._waiting:
            transport.write(answer)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self.seconds
        if not self._waiting:
            loop.call_at(due, self._flush)
        self._waiting.append((due, transport, answer))

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, transport, answer = self._waiting.popleft()
            if not transport.is_closing():
                transport.write(answer)
        if self._waiting:
            loop.call_at(self._waiting[0][0], self._flush)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; bodies come with Content-Length or in chunks."""

    def __init__(self, answers: Answers, delay: Delay) -> None:
        self._answers = answers
        self._delay = delay
        self._buffer = bytearray()
        self._wanted = 0
        self._continued = False
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - TCP transports are writable
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request in the buffer."""
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return
        while (end := self._buffer.find(_END + _END)) >= 0:
            line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            found = self._body(headers, end + 4)
            if found is None:
                if "expect" in headers and not self._continued:
                    self._transport.write(_CONTINUE)
                    self._continued = True
                return
            body, stop = found
            del self._buffer[:stop]
            self._wanted, self._continued = 0, False
            self._serve(line, headers, body)

    def _body(self, headers: dict[str, str], start: int) -> tuple[bytes, int] | None:
        """The body and where it ends, if all of it is there."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return chunked(self._buffer, start)
        self._wanted = start + int(headers.get("content-length", "0"))
        if len(self._buffer) < self._wanted:
            return None
        return bytes(self._buffer[start : self._wanted]), self._wanted

    def _serve(self, line: str, headers: dict[str, str], body: bytes) -> None:
        method, target, _ = line.split(" ", 2)
        if target.startswith("/_stub/"):
            path, _, tail = target.partition("?")
            self._transport.write(self._answers.door(path, dict(parse_qsl(tail))))
        else:
            self._delay.send(self._transport, self._answers.answer(method, target, headers, body))


def chunked(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """A body in chunks that begins at a place, and where it ends; None while it is not all there. No trailers."""
    chunks: list[bytes] = []
    while (end := buffer.find(_END, at)) >= 0:
        size = int(buffer[at:end].partition(b";")[0], 16)
        begin = end + len(_END)
        at = begin + size + len(_END)
        if len(buffer) < at:
            return None
        if not size:
            return b"".join(chunks), at
        chunks.append(bytes(buffer[begin : begin + size]))
    return None
