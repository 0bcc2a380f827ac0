"""Stacks for tests at a tenth of the cost: what provisioning one of them sent is sent again under other names."""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_NOT_SENT_AGAIN = frozenset({"host", "connection", "content-length", "transfer-encoding", "expect", "content-md5"})
_CHECKSUM = "x-amz-checksum-"
_ONLY_READS = re.compile(r"\.(Get|Describe|List)\w+$")
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a provisioning."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def changes_something(self) -> bool:
        """Whether another stack needs it, too."""
        return self.method not in {"GET", "HEAD"} and not _ONLY_READS.search(self.headers.get("x-amz-target", ""))

    def renamed(self, names: Mapping[str, str]) -> "Request":
        """The same of another stack: each of these texts becomes its counterpart."""
        path, body, headers = self.path, self.body, dict(self.headers)
        for old, new in names.items():
            path, body = path.replace(old, new), body.replace(old.encode(), new.encode())
            headers = {name: value.replace(old, new) for name, value in headers.items()}
        return Request(self.method, path, headers, body)


@contextmanager
def recorded(endpoint: str) -> Iterator[tuple[str, list[Request]]]:
    """A way round to ``endpoint``: its address, and what went along it in the order of the answers."""
    requests: list[Request] = []
    upstream = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name.lower(): value
                for name, value in self.headers.items()
                if name.lower() not in _NOT_SENT_AGAIN and not name.lower().startswith(_CHECKSUM)
            }
            request = Request(self.command, self.path, headers, body)
            connection = http.client.HTTPConnection(upstream, timeout=PATIENCE_S)
            try:
                answer, content = _send(connection, request)
            finally:
                connection.close()
            requests.append(request)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


def send_again(endpoint: str, requests: list[Request], names: Mapping[str, str]) -> None:
    """Send what another stack needs, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=PATIENCE_S)
    try:
        for request in requests:
            if request.changes_something:
                answer, content = _send(connection, request.renamed(names))
                assert answer.status < HTTPStatus.MULTIPLE_CHOICES, (request, answer.status, content)
    finally:
        connection.close()


def _send(connection: http.client.HTTPConnection, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(request.method, request.path, request.body, dict(request.headers))
    answer = connection.getresponse()
    return answer, answer.read()
