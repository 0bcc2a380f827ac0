"""Segments: the unit that is fetched, validated and merged, and the occurrences it is made of."""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from contracts.envelope import ClaimCheck, Contract, Payload


class Occurrence(Contract):
    """One object version. The same occurrence delivered twice counts once; a new version is a new occurrence.

    ``version_id`` identifies it in a versioned bucket, ``etag`` elsewhere. At least one is present.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size: NonNegativeInt | None = Field(default=None, description="bytes")

    @model_validator(mode="after")
    def _is_identified(self) -> Self:
        if not self.version_id and not self.etag:
            raise ValueError(f"s3://{self.bucket}/{self.key} has neither a version id nor an ETag")
        return self

    @property
    def id(self) -> str:
        """Stable identity: 32 hexadecimal digits over bucket, key and version (or ETag)."""
        version = f"v\0{self.version_id}" if self.version_id else f"e\0{self.etag}"
        return sha256(f"{self.bucket}\0{self.key}\0{version}".encode()).hexdigest()[:32]

    @property
    def uri(self) -> str:
        """Where it lies, for people."""
        return f"s3://{self.bucket}/{self.key}"


class Destination(Contract):
    """The checkpoint object that a segment's rows belong to."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """Where readers find it."""
        return f"s3://{self.bucket}/{self.key}"


DESCRIPTOR_KEY = "tidegate"
"""Parquet metadata key under which a validated segment describes itself (a SegmentDescriptor)."""

OCCURRENCE_COLUMN = "_occurrence"
"""Column of a validated segment that says which occurrence a row came from; it does not reach the checkpoint.

A segment of fetched rows has none: there a row is identified by its own unique key."""


def segment_id_of(occurrences: Sequence[Occurrence]) -> str:
    """A name that depends only on what is in the segment, so that a repetition rewrites the same object."""
    return sha256("\n".join(sorted(o.id for o in occurrences)).encode()).hexdigest()[:24]


def scope_of(pipeline: str, own: Destination | None) -> str:
    """The index of settled occurrences: a run with a destination of its own settles them for itself."""
    return pipeline if own is None else f"{pipeline}@{own.bucket}/{own.key}"


class Disposition(StrEnum):
    """What finally became of an occurrence."""

    MERGED = "merged"
    QUARANTINED = "quarantined"
    FILTERED = "filtered"
    IGNORED = "ignored"


class Verdict(Contract):
    """The validator's judgement of an occurrence that yields no row."""

    occurrence: str
    disposition: Disposition
    reason: str = ""
    settles: bool = Field(
        default=True,
        description="False: left out of this run only (since_timestamp); a later run may take it",
    )


class SegmentCounts(Contract):
    """Occurrences of one segment as the validator saw them; ``received`` is the sum of the others."""

    received: NonNegativeInt = 0
    rows: NonNegativeInt = 0
    quarantined: NonNegativeInt = 0
    filtered: NonNegativeInt = 0
    ignored: NonNegativeInt = 0
    duplicates: NonNegativeInt = 0
    nulled: NonNegativeInt = Field(default=0, description="bad values that became null inside good rows")


class SegmentDescriptor(Contract):
    """What a validated segment object says about itself, in its Parquet metadata (key ``tidegate``)."""

    segment_id: str
    pipeline: str
    scope: str = Field(description="index of settled occurrences: the pipeline, or pipeline@destination")
    run_id: str
    destination: Destination
    counts: SegmentCounts
    verdicts: list[Verdict]
    replay: bool = Field(default=False, description="occurrences quarantined before may be settled anew")


class Settlement(Contract):
    """What a merge made of one segment: every occurrence it carried is in exactly one of these."""

    merged: NonNegativeInt = 0
    row_duplicates: NonNegativeInt = 0
    quarantined: NonNegativeInt = 0
    filtered: NonNegativeInt = 0
    ignored: NonNegativeInt = 0
    verdict_duplicates: NonNegativeInt = 0


class OccurrenceList(Contract):
    """The claim-checked content of a planned segment."""

    occurrences: list[Occurrence]


class ValidateSegment(Payload):
    """Command to the validator: judge exactly these occurrences and write them as one segment."""

    pipeline: str
    run_id: str
    segment_id: str
    destination: Destination | None = Field(default=None, description="overrides the pipeline's own")
    occurrences: ClaimCheck = Field(description="an OccurrenceList")
    since_timestamp: str | None = Field(default=None, description="keep strictly newer events only (ISO 8601)")
    replay: bool = False

    def dedup_id(self) -> str:
        """One validation per planned segment."""
        return f"{self.run_id}/{self.segment_id}"


class MergeSegment(Payload):
    """Command to the merger: merge this validated segment, though its object-created event may be lost."""

    bucket: str
    key: str

    def dedup_id(self) -> str:
        """One merge per segment object."""
        return f"{self.bucket}/{self.key}"
