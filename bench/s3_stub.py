"""A small S3 server for benchmarks: objects in memory, a fixed latency, no limit on concurrency.

    python -m bench.s3_stub --files 10000 --latency-ms 15

prints ``{"url": …, "bucket": …}`` on one line and serves until it is terminated. It knows ListObjectsV2,
ListObjectVersions, GetObject (versionId, If-Match, Range), HeadObject, PutObject (If-Match, If-None-Match), multipart
uploads and DeleteObject, addressed by path; it checks no signature. Its own doors answer at once:

* ``GET /_stub/stats``: requests served, the CPU seconds this process has used, and bytes of bodies received and sent
* ``POST /_stub/latency?ms=N``: change the latency
* ``POST /_stub/generate?first=N&count=M``: add more of the generated files
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from bench.stub_connection import Connection, Delay
from bench.stub_multipart import StubUploads, unchunked
from bench.stub_objects import (
    PreconditionError,
    StubObjects,
    StubVersion,
    list_objects,
    list_versions,
)
from bench.visit_events.files import event_files

_REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 404: "Not Found", 412: "Precondition Failed"}


class Stub:
    """Turns requests into answers."""

    def __init__(self, bucket: str, delay: Delay, most_versions: int | None = None) -> None:
        self.objects = StubObjects(most_versions)
        self.uploads = StubUploads(self.objects)
        self.requests = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self._bucket = bucket
        self._delay = delay

    def generate(self, first: int, count: int) -> None:
        """Put the generated files of these numbers into the bucket."""
        for key, body in event_files(first, count):
            self.objects.put(self._bucket, key, body)

    def load(self, directory: Path) -> None:
        """Put every file below a directory into the bucket, keyed by its path from there."""
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            self.objects.put(self._bucket, path.relative_to(directory).as_posix(), path.read_bytes())

    def door(self, path: str, query: dict[str, str]) -> bytes:
        """Answer one of the stub's own requests."""
        if path == "/_stub/latency":
            self._delay.seconds = float(query["ms"]) / 1000
        elif path == "/_stub/generate":
            self.generate(int(query["first"]), int(query["count"]))
        elif path != "/_stub/stats":
            return _refusal(404, "NoSuchDoor")
        moved = {"received_bytes": self.received_bytes, "sent_bytes": self.sent_bytes}
        stats = {"requests": self.requests, "cpu_s": time.process_time(), **moved}
        return _answer(200, json.dumps(stats).encode(), "Content-Type: application/json\r\n")

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        """Answer one S3 request."""
        self.requests += 1
        body = unchunked(headers, body)
        self.received_bytes += len(body)
        path, _, tail = target.partition("?")
        query = dict(parse_qsl(tail, keep_blank_values=True)) if tail else {}
        bucket, _, key = path[1:].partition("/")
        key = unquote(key)
        if not key:
            return self._bucket_answer(method, bucket, query)
        if "uploads" in query or "uploadId" in query:
            return self._upload(method, (bucket, key), query, headers, body)
        if method == "PUT":
            return self._put(bucket, key, headers, body)
        if method == "DELETE":
            self.objects.delete(bucket, key)
            return _answer(204)
        return self._read(method, self.objects.find(bucket, key, query.get("versionId")), headers)

    def _read(self, method: str, found: StubVersion | None, headers: dict[str, str]) -> bytes:
        bare = method == "HEAD"
        if found is None:
            return _refusal(404, "NoSuchKey", bare=bare)
        if headers.get("if-match", found.etag).strip('"') not in {found.etag, "*"}:
            return _refusal(412, "PreconditionFailed", bare=bare)
        if bare:
            return _head(200, len(found.body), found.headers)
        answer = _ranged(found, headers["range"]) if "range" in headers else found.whole()
        self.sent_bytes += len(answer) - len(found.headers)
        return answer

    def _upload(
        self, method: str, place: tuple[str, str], query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> bytes:
        if "uploads" in query:
            status, text, more = self.uploads.begin(headers)
        elif method == "PUT":
            status, text, more = self.uploads.part(query, headers, body)
        elif method == "POST":
            status, text, more = self.uploads.complete(*place, query["uploadId"], headers, body)
        else:
            status, text, more = self.uploads.abort(query["uploadId"])
        return _refusal(status, text) if status >= HTTPStatus.BAD_REQUEST else _answer(status, text.encode(), more)

    def _bucket_answer(self, method: str, bucket: str, query: dict[str, str]) -> bytes:
        if method != "GET":
            return _answer(200)
        page = (list_versions if "versions" in query else list_objects)(self.objects, bucket, query)
        return _answer(200, page.encode(), "Content-Type: application/xml\r\n")

    def _put(self, bucket: str, key: str, headers: dict[str, str], body: bytes) -> bytes:
        if "if-match" in headers and self.objects.find(bucket, key) is None:
            return _refusal(404, "NoSuchKey")
        try:
            written = self.objects.put(bucket, key, body, headers=headers)
        except PreconditionError:
            return _refusal(412, "PreconditionFailed")
        return _answer(200, b"", f'ETag: "{written.etag}"\r\nx-amz-version-id: {written.version_id}\r\n')


def _head(status: int, length: int, headers: str) -> bytes:
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {length}\r\n{headers}\r\n".encode()


def _answer(status: int, body: bytes = b"", headers: str = "") -> bytes:
    return _head(status, len(body), headers) + body


def _refusal(status: int, code: str, *, bare: bool = False) -> bytes:
    body = b"" if bare else f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return _answer(status, body, "Content-Type: application/xml\r\n")


def _ranged(found: StubVersion, wanted: str) -> bytes:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    size = len(found.body)
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    span = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
    return _answer(206, bytes(found.body.cut(start, stop)), found.headers + span)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    delay = Delay(options.latency_ms / 1000)
    stub = Stub(options.bucket, delay, options.versions)
    if options.directory:
        stub.load(options.directory)
    else:
        stub.generate(0, options.files)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stub, delay), "127.0.0.1", options.port, backlog=1024)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}", "bucket": options.bucket}) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="A static S3 server for benchmarks.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--bucket", default="visit-events")
    parser.add_argument("--files", type=int, default=10_000, help="how many files to generate")
    parser.add_argument("--directory", type=Path, help="serve these files instead")
    parser.add_argument("--latency-ms", type=float, default=15.0, help="added to every answer")
    parser.add_argument("--versions", type=int, help="how many of an object to keep; all of them if not said")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
