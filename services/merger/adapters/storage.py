"""Segments and manifests in the object store."""

import asyncio
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from contracts.checkpoints import CommitManifest
from contracts.segments import DESCRIPTOR_KEY, OCCURRENCE_COLUMN, SegmentDescriptor
from services.merger.ports import LoadedSegment
from services.runtime.failures import MalformedError
from services.runtime.objects import ObjectStore


class ParquetSegmentReader:
    """Reads what the validator wrote."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def read(self, bucket: str, key: str) -> LoadedSegment:
        """See the port."""
        stored = await self._objects.get(bucket, key)
        return await asyncio.to_thread(_parse, stored.body, bucket, key)


def _parse(body: bytes, bucket: str, key: str) -> LoadedSegment:
    try:
        file = pq.ParquetFile(io.BytesIO(body))
        table = file.read()
        # polars writes its metadata beside the Arrow schema, so it is in the file's, not in the table's.
        descriptor = SegmentDescriptor.model_validate_json(
            (file.metadata.metadata or {})[DESCRIPTOR_KEY.encode()], extra="ignore"
        )
        identified = OCCURRENCE_COLUMN in table.column_names
        occurrences = tuple(table.column(OCCURRENCE_COLUMN).to_pylist()) if identified else ()
    except (pa.ArrowException, OSError, KeyError, ValidationError) as error:
        raise MalformedError(f"s3://{bucket}/{key} is not a validated segment: {error}") from error
    rows = (table.drop_columns([OCCURRENCE_COLUMN]) if identified else table).replace_schema_metadata(None)
    return LoadedSegment(descriptor=descriptor, bucket=bucket, key=key, rows=rows, occurrences=occurrences)


class S3Manifests:
    """Manifests as gzip-compressed JSON in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket

    async def write(self, manifest: CommitManifest) -> str:
        """See the port."""
        at = manifest.destination
        key = f"commits/{at.bucket}/{at.key}/{manifest.version:012d}-{manifest.commit_id}.json.gz"
        body = gzip.compress(manifest.model_dump_json().encode(), compresslevel=3, mtime=0)
        await self._objects.put(self._bucket, key, body, content_type="application/gzip")
        return key

    async def read(self, key: str) -> CommitManifest:
        """See the port."""
        stored = await self._objects.get(self._bucket, key)
        try:
            return CommitManifest.model_validate_json(gzip.decompress(stored.body), extra="ignore")
        except (ValidationError, OSError, EOFError) as error:
            raise MalformedError(f"s3://{self._bucket}/{key} is not a commit manifest: {error}") from error
