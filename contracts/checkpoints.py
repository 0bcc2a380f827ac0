"""Checkpoints: the merged object that readers use, its commits and its undo."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from contracts.envelope import Contract, Payload
from contracts.segments import Destination, SegmentCounts, Settlement


class SegmentSettlement(Contract):
    """One segment inside a commit, with what became of its occurrences."""

    run_id: str
    segment_id: str
    bucket: str
    key: str
    counts: SegmentCounts = Field(description="as the validator saw it; rebuilds a ledger that was lost")
    settlement: Settlement


class CommitManifest(Contract):
    """What one commit did. Written before the commit, named by it: the write-ahead log of a checkpoint.

    The chain of ``parent_manifest`` reaches back to the first commit, so that everything DynamoDB knows of a
    checkpoint can be rebuilt from S3.
    """

    kind: Literal["merge", "restore"]
    pipeline: str
    scope: str = Field(description="index of settled occurrences that this checkpoint's rows are marked in")
    destination: Destination
    version: PositiveInt
    commit_id: str
    fencing_token: NonNegativeInt
    epoch: NonNegativeInt = Field(description="generation of occurrence marks; grows with every restore")
    committed_at: str
    parent_manifest: str | None = Field(default=None, description="key of the previous commit's manifest")
    parent_etag: str | None = None
    parent_object_version: str | None = Field(default=None, description="S3 version id of the previous content")
    total_rows: NonNegativeInt
    new_rows: NonNegativeInt
    max_cursor: str | None = Field(default=None, description="greatest value of the ordering column, literal")
    key_range: tuple[str, str] | None = Field(
        default=None, description="least and greatest unique key, if rows have one"
    )
    segments: list[SegmentSettlement] = Field(default_factory=list)
    occurrences: list[str] = Field(
        default_factory=list, description="ids of the rows this commit added, or brought back from undone versions"
    )
    restored: NonNegativeInt | None = Field(default=None, description="the version a restore made current again")
    undone: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="versions, inclusive, whose rows a restore took out and made eligible again"
    )


class RestoreCheckpoint(Payload):
    """Command to the merger: make an earlier version current again, as a new commit."""

    pipeline: str
    scope: str
    request_id: str
    destination: Destination
    version: NonNegativeInt = Field(description="the version to restore; 0 is the state before the first commit")
    discard: bool = Field(default=False, description="keep the undone rows out instead of merging them again")

    def dedup_id(self) -> str:
        """One restore per request."""
        return self.request_id


class CheckpointMerged(Payload):
    """Fact: a commit added rows to a checkpoint."""

    pipeline: str
    destination: Destination
    version: PositiveInt
    commit_id: str
    new_rows: NonNegativeInt
    total_rows: NonNegativeInt

    def dedup_id(self) -> str:
        """One fact per commit."""
        return f"{self.destination.uri}@{self.version}"


class CheckpointRestored(Payload):
    """Fact: an earlier version became current again."""

    pipeline: str
    destination: Destination
    version: PositiveInt
    restored_version: NonNegativeInt
    request_id: str

    def dedup_id(self) -> str:
        """One fact per restore request."""
        return self.request_id
