"""What only the merger needs from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from contracts.checkpoints import CommitManifest
from contracts.loads import GroupResult, LandedSegment, LoadManifest, LoadPart
from contracts.pipelines import Pipeline
from contracts.segments import Destination, SegmentDescriptor
from services.runtime.checkpoints import Checkpoints
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.leases import Leases
from services.runtime.ledger import Ledger
from services.runtime.objects import ObjectInfo, ObjectStore
from services.runtime.occurrences import Occurrences
from services.runtime.publishing import Publisher
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class LoadedSegment:
    """A validated segment in memory: its rows, and the occurrence of each (none where rows have keys of their own)."""

    descriptor: SegmentDescriptor
    bucket: str
    key: str
    rows: "pa.Table"
    occurrences: tuple[str, ...]


class SegmentReader(Protocol):
    """Reads validated segments."""

    async def read(self, bucket: str, key: str) -> LoadedSegment:
        """One segment.

        Raises:
            MalformedError: the object is not a segment.
            MissingObjectError: it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class AtHand:
    """The end of an object that was put: its bytes from ``start`` on.

    Its first ``copied`` bytes are those of the object with the ETag ``copied_from``.
    """

    start: int
    body: bytes
    copied: int = 0
    copied_from: str | None = None


class Prepared(Protocol):
    """A new checkpoint content, ready to be put in place."""

    @property
    def strategy(self) -> str:
        """How it was made; what log lines and metrics call it."""
        ...

    @property
    def total_rows(self) -> int:
        """Rows of the whole checkpoint."""
        ...

    @property
    def max_cursor(self) -> str | None:
        """Greatest value of the ordering column, ISO 8601; None when there are no rows."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the whole checkpoint object, exact once it is put."""
        ...

    @property
    def key_range(self) -> tuple[str, str] | None:
        """Least and greatest unique key of all rows.

        None where rows have no key of their own, there are no rows, or what stays in place does not say.
        """
        ...

    @property
    def at_hand(self) -> AtHand | None:
        """What of it is still in memory when it has been put; None where rows have no key of their own."""
        ...

    async def put(self, metadata: Mapping[str, str]) -> ObjectInfo:
        """Swap it in, if the object is still the one it was prepared from.

        Raises:
            ConflictError: it is not, or the outcome is unknown (read the object back to tell).
        """
        ...


class MergeStrategy(Protocol):
    """A way to add rows to one sorted Parquet object."""

    @property
    def name(self) -> str:
        """What it is called; a strategy may choose among others, so what it prepared says how."""
        ...

    async def prepare(
        self, destination: Destination, pipeline: Pipeline, base: ObjectInfo | None, rows: "pa.Table", commit_id: str
    ) -> Prepared:
        """Merge rows into the content of ``base``, stable: what was there comes before new rows on ties.

        Raises:
            CorruptCheckpointError: the base cannot be read as a checkpoint of this pipeline.
            ConflictError: the base is no longer there.
        """
        ...

    async def prepare_restored(
        self,
        destination: Destination,
        pipeline: Pipeline,
        base: ObjectInfo | None,
        earlier: str | None,
        commit_id: str,
        without: "pa.ChunkedArray | None" = None,
    ) -> Prepared:
        """The content of an earlier S3 version (None: no rows) but the rows with these keys, to replace ``base``."""
        ...


class Manifests(Protocol):
    """The write-ahead log of commits."""

    async def write(self, manifest: CommitManifest) -> str:
        """Keep a manifest; returns its key."""
        ...

    async def read(self, key: str) -> CommitManifest:
        """A manifest by its key.

        Raises:
            MissingObjectError: there is none.
        """
        ...


class TableKeys(Protocol):
    """Which unique keys a table of partition files holds: the files themselves say so."""

    async def among(
        self, pipeline: Pipeline, scope: str, bucket: str, keys: "pa.ChunkedArray"
    ) -> "Sequence[pa.ChunkedArray]":
        """Keys of all rows that lie where one of ``keys`` may be; all of these that the table holds are among them.

        Raises:
            ConflictError: a file changed while it was read; start over.
            CorruptCheckpointError: a file of the table cannot be read.
        """
        ...

    async def elsewhere(
        self, pipeline: Pipeline, scope: str, at: Destination, object_version: str
    ) -> "pa.ChunkedArray | None":
        """Keys of an earlier version of a file that other files of the table hold now; None where rows have no key.

        Other files that cannot be read count as holding none.

        Raises:
            ConflictError: a file changed while it was read; start over.
            CorruptCheckpointError: that version cannot be read.
            MissingObjectError: there is no such version any more.
        """
        ...

    async def remember(self, pipeline: Pipeline, bucket: str, info: ObjectInfo, written: AtHand) -> None:
        """Keep what is known of an object that was just put, so that it need not be read."""
        ...


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A load's manifest, and where it lies in the state."""

    manifest: LoadManifest
    key: str
    etag: str


class Loads(Protocol):
    """What is decided and done of every version of every entity. Manifests are never changed."""

    async def landed(self, bucket: str, key: str) -> LandedSegment:
        """What the validator says of a segment.

        Raises:
            MalformedError: the object says nothing of the kind.
            MissingObjectError: it is gone.
        """
        ...

    async def segments(self, stored: StoredManifest) -> list[LandedSegment]:
        """The segments that a load is made of, in its order; raises as ``landed`` does."""
        ...

    async def manifest(self, pipeline: str, version: int) -> StoredManifest | None:
        """The manifest of a version, or None if there is no such version (consistent read)."""
        ...

    async def create(self, manifest: LoadManifest) -> None:
        """Make it the manifest of its version: this is the commit.

        Raises:
            ConflictError: the version has one, perhaps this very one (read it to tell).
        """
        ...

    async def finished(self, manifest: LoadManifest) -> set[int]:
        """The groups that are written (consistent listing)."""
        ...

    async def result(self, manifest: LoadManifest, group: int) -> GroupResult:
        """What a group that is written wrote; MissingObjectError if it is not."""
        ...

    async def finish(self, manifest: LoadManifest, group: int, result: GroupResult) -> None:
        """Mark a group as written."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What bronze holds of a load's generation at and after its least cursor: parts that can hold the same rows."""

    parts: tuple[LoadPart, ...] = ()
    least_cursor: str | None = None


class Parts(Protocol):
    """Writes parts of bronze. Writing a group again writes the same bytes to the same keys."""

    async def write(
        self, pipeline: Pipeline, manifest: LoadManifest, group: int, segments: Sequence[LandedSegment], known: Known
    ) -> GroupResult:
        """Write one group of a load: every row of its event dates that is neither twice in it nor known.

        Raises:
            CorruptCheckpointError: a landing file is not what the validator saw, or a known part cannot be read.
            MissingObjectError: one of them is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use cases work with."""

    pipelines: dict[str, Pipeline]
    segments: SegmentReader
    strategy: MergeStrategy
    keys: TableKeys
    manifests: Manifests
    loads: Loads
    parts: Parts
    processed_bucket: str
    objects: ObjectStore
    checkpoints: Checkpoints
    occurrences: Occurrences
    leases: Leases
    ledger: Ledger
    watermarks: Watermarks
    publisher: Publisher
    completion: Completion
    telemetry: Telemetry
    clock: Clock
    owner: str
    lease_ttl_s: float
