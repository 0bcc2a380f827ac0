"""The validator's ports over S3 and Parquet."""

import asyncio
import io
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from contracts.envelope import ClaimCheck
from contracts.loads import LandedSegment, Landing
from contracts.segments import DESCRIPTOR_KEY, OccurrenceList
from services.runtime.failures import ConflictError, MalformedError
from services.runtime.landing import SUFFIX
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore
from services.validator.core.fetched import ROWS
from services.validator.core.segments import QuarantineEntry, SegmentFile, Work

DIGEST = "tidegate-sha256"
"""Metadata of a landing file: the digest of its bytes."""


class S3Claims:
    """Redeems claim checks from the object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def occurrences(self, claim: ClaimCheck) -> OccurrenceList:
        """See the port."""
        stored = await self._objects.get(claim.bucket, claim.key)
        if sha256(stored.body).hexdigest() != claim.sha256:
            raise MalformedError(f"s3://{claim.bucket}/{claim.key} is not what was checked in: its digest differs")
        try:
            return OccurrenceList.model_validate_json(stored.body)
        except ValidationError as error:
            raise MalformedError(f"s3://{claim.bucket}/{claim.key} is not a list of occurrences: {error}") from error


class ParquetSegments:
    """Writes segments to the validated bucket and bad records to the quarantine bucket."""

    def __init__(self, objects: ObjectStore, validated_bucket: str, quarantine_bucket: str) -> None:
        self._objects = objects
        self._validated = validated_bucket
        self._quarantine = quarantine_bucket

    async def write(self, segment: SegmentFile) -> str:
        """See the port."""
        body = await asyncio.to_thread(_parquet, segment)
        about = segment.descriptor
        key = f"{about.pipeline}/{about.run_id}/{about.segment_id}.parquet"
        await self._objects.put(self._validated, key, body)
        return f"{self._validated}/{key}"

    async def quarantine(self, work: Work, entries: Sequence[QuarantineEntry]) -> None:
        """See the port."""
        key = f"{work.pipeline.name}/{work.run_id}/{work.segment_id}.ndjson"
        body = await asyncio.to_thread(_ndjson, work, entries)
        await self._objects.put(self._quarantine, key, body, content_type="application/x-ndjson")


class S3Landed:
    """Writes segments of loads to the validated bucket.

    A landing file is pinned by its ETag where it is used, so one that is there already with the same bytes stays: with
    encryption by KMS the same bytes written again would have another.
    """

    def __init__(self, objects: ObjectStore, validated_bucket: str) -> None:
        self._objects = objects
        self._validated = validated_bucket

    async def write_rows(self, landing: Landing, file: bytes) -> tuple[str, ObjectInfo]:
        """See the port."""
        key = f"{_name(landing)}{SUFFIX}"
        metadata = {ROWS: str(landing.rows), DIGEST: sha256(file).hexdigest()}
        try:
            info = await self._objects.put(self._validated, key, file, if_match=IF_ABSENT, metadata=metadata)
        except ConflictError:
            standing = await self._objects.head(self._validated, key)
            if standing is not None and standing.metadata.get(DIGEST) == metadata[DIGEST]:
                return self._validated, standing
            info = await self._objects.put(self._validated, key, file, metadata=metadata)
        return self._validated, info

    async def write(self, segment: LandedSegment) -> str:
        """See the port."""
        key = f"{_name(segment)}.json"
        body = segment.model_dump_json().encode()
        await self._objects.put(self._validated, key, body, content_type="application/json")
        return f"{self._validated}/{key}"


def _name(of: Landing | LandedSegment) -> str:
    return f"{of.pipeline}/{of.run_id}/{of.segment_id}"


def _ndjson(work: Work, entries: Sequence[QuarantineEntry]) -> bytes:
    lines = []
    for entry in entries:
        document: dict[str, Any] = {
            "occurrence": entry.occurrence.model_dump(mode="json"),
            "id": entry.id,
            "reason": entry.reason,
            "errors": entry.errors,
            "run_id": work.run_id,
            "segment_id": work.segment_id,
        }
        if entry.row is not None:
            document |= {"line": entry.row.line, "raw": entry.row.raw}
        lines.append(json.dumps(document))
    return "\n".join(lines).encode()


def _parquet(segment: SegmentFile) -> bytes:
    sink = io.BytesIO()
    segment.rows.write_parquet(
        sink, compression="snappy", metadata={DESCRIPTOR_KEY: segment.descriptor.model_dump_json()}
    )
    return sink.getvalue()
