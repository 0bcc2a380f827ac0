"""What only the fetcher needs from outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from contracts.loads import FetchSlice
from contracts.pipelines import Pipeline
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.datasets import Block, Datasets
from services.runtime.ledger import Ledger
from services.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    import pyarrow as pa


TYPED_READS = 2
"""Slices of typed rows that one process reads side by side, however many lanes it has."""


class RawObjects(Protocol):
    """Raw objects with the number of rows they hold. What was created once is never replaced.

    Raises (all methods): AccessDeniedError, MissingObjectError for a missing bucket, UnreachableError.
    """

    async def rows(self, bucket: str, key: str) -> int | None:
        """Rows of the raw object that is there, or None.

        Raises:
            MalformedError: there is an object, and no fetcher wrote it.
        """
        ...

    async def create(self, bucket: str, key: str, body: bytes, *, rows: int) -> bool:
        """Create a raw object of gzip-compressed NDJSON; False if there was one already, which is left alone.

        A try of our own whose answer was lost counts as an object that was there.
        """
        ...


class TypedRows(Protocol):
    """Reads rows of sources that type them: tables of a database.

    Raises (while reading): PermanentError with the source's own words where it refuses the query, or where a value does
    not fit its field (the text names column and key); TemporaryError where the connection could not be made or broke
    off. No text ever holds a secret.
    """

    def read(self, pipeline: Pipeline, command: FetchSlice) -> "AsyncIterator[pa.RecordBatch]":
        """The rows of a slice as of one moment, in batches of bounded size with the command's fields, in no order."""
        ...


class Records(Protocol):
    """Reads records of an API.

    Raises (while reading): PermanentError and TemporaryError as ``Dataset.page`` does (services/runtime/datasets.py).
    """

    def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[Block]:
        """The records whose cursor is in the slice, page by page, as NDJSON; the source's own JSON text of each."""
        ...


class LandingObjects(Protocol):
    """Raw objects of typed rows; what was created once is never replaced. Raises as ``RawObjects`` does."""

    async def rows(self, bucket: str, key: str) -> int | None:
        """Rows of the raw object that is there, or None."""
        ...

    async def create(self, bucket: str, key: str, file: BinaryIO, *, rows: int) -> bool:
        """Create a raw object of a sealed landing file; False if there was one already, which is left alone."""
        ...


@dataclass(frozen=True, slots=True)
class Landing:
    """What only slices of entities need."""

    tables: Mapping[str, TypedRows]
    """By the kind of the source: postgres, snowflake."""
    records: Records
    """Of sources of kind rest."""
    objects: LandingObjects
    spool: Path
    """Folder for files that are being written; the disk it is on bounds a segment, not memory."""
    reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TYPED_READS))
    """Held while typed rows are read: each holds some gathers of rows in memory."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use case works with."""

    pipelines: dict[str, Pipeline]
    raw_bucket: str
    datasets: Datasets
    raw: RawObjects
    ledger: Ledger
    completion: Completion
    telemetry: Telemetry
    clock: Clock
    landing: Landing | None = None
    """None where no entities are landed."""
