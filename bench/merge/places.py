"""Where S3 is: a stub that answers at once, so that a client's own work is seen, or the emulator."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3  # type: ignore[import-untyped, unused-ignore]

from bench.merge.job import BUCKET
from bench.stub_process import StubProcess
from services.console.local.emulator import Emulator
from services.console.local.environment import pointed_at

MOVED = ("requests", "received_bytes", "sent_bytes")
STUB, EMULATOR = "stub", "emulator"


@dataclass(frozen=True, slots=True)
class Place:
    """An S3 with the empty bucket, and a folder; the environment points at it while the block is open."""

    folder: Path
    stub: StubProcess | None = None

    @property
    def stub_url(self) -> str | None:
        """Where bytes are counted."""
        return None if self.stub is None else self.stub.url

    def moved(self) -> dict[str, int]:
        """Requests, and bytes received and sent so far; none where nobody counts."""
        return {} if self.stub is None else {name: int(self.stub.stats()[name]) for name in MOVED}


@contextmanager
def on_stub() -> Iterator[Place]:
    """S3 that takes no time."""
    with TemporaryDirectory(prefix="bench-merge-") as folder, StubProcess(files=0, latency_ms=0, versions=2) as stub:
        environ = {**os.environ, **stub.environ(), "AWS_ENDPOINT_URL": stub.url}
        with pointed_at({name: value for name, value in environ.items() if name.startswith("AWS_")}):
            yield Place(Path(folder), stub)


@contextmanager
def on_emulator() -> Iterator[Place]:
    """S3 of the embedded stack."""
    with TemporaryDirectory(prefix="bench-merge-") as folder:
        emulator = Emulator.start(Path(folder) / "emulator")
        environ = {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        try:
            with pointed_at(environ):
                boto3.client("s3").create_bucket(Bucket=BUCKET)
                yield Place(Path(folder))
        finally:
            emulator.stop()


PLACES: Mapping[str, Callable[[], AbstractContextManager[Place]]] = {STUB: on_stub, EMULATOR: on_emulator}
