"""What every commit to a table did, beside what the naive merge of the same rows makes."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.checkpoints import CommitManifest
from services.merger.adapters.append.layout import LAYOUT_KEY, Layout
from services.merger.adapters.key_column import range_of
from services.merger.adapters.storage import S3Manifests
from services.merger.adapters.tables import sort_stable
from services.merger.core.commits import STAMP_MANIFEST
from services.runtime.objects import StoredObject
from tests.property.append_checks import check_file
from tests.property.table_world import PIPELINE, SCHEMA, TableWorld


async def check_history(world: TableWorld) -> list[str]:
    """Each version of each file is the one before with that commit's rows merged in, ties included.

    Returns:
        Of each commit's content whether it is ``laid out`` or ``plain``, or ``foreign`` where no commit made it.
    """
    manifests, kinds = S3Manifests(world.objects, "state"), []
    for name, versions in world.objects.buckets["processed"].keys.items():
        before, etags = SCHEMA.empty_table(), set()
        versions_of = {0: before}
        for stored in versions:
            assert stored is not None
            etags.add(stored.info.etag)
            after = rows_of(stored)
            if STAMP_MANIFEST in stored.info.metadata:
                manifest = await manifests.read(stored.info.metadata[STAMP_MANIFEST])
                new = await _brought(world, manifest, before, after)
                assert new.num_rows == manifest.new_rows
                kept = before if manifest.restored is None else _left(versions_of[manifest.restored], after)
                expected = sort_stable(pa.concat_tables([kept, new]), PIPELINE.target.order_by)
                versions_of[manifest.version] = after
                check_file(stored.body, expected, Layout.of(PIPELINE))
                assert manifest.key_range == range_of(after.column("key")), "the range is not that of the rows"
                assert manifest.total_rows == after.num_rows
            kinds.append(_kind(stored))
            before = after
        assert len(etags) == len(versions), f"two commits to {name} have one ETag"
    return kinds


def _left(version: pa.Table, after: pa.Table) -> pa.Table:
    """Rows of a version that came back with it: those that other files held meanwhile stayed there."""
    return version.filter(pc.is_in(version.column("key"), value_set=after.column("key").combine_chunks()))


def rows_of(stored: StoredObject) -> pa.Table:
    """The rows of a file."""
    return pq.ParquetFile(io.BytesIO(stored.body)).read().cast(SCHEMA)


async def _brought(world: TableWorld, manifest: CommitManifest, before: pa.Table, after: pa.Table) -> pa.Table:
    """The rows a commit added, in the order they came in: segment by segment, each key where it came first."""
    known = set(before.column("key").to_pylist())
    added = [row for row in after.to_pylist() if row["key"] not in known]
    found = []
    for settled in manifest.segments:
        segment = rows_of(await world.objects.get(settled.bucket, settled.key))
        mine = {row["key"] for row in added if row["said_by"] == f"{settled.run_id}/{settled.segment_id}"}
        for row in segment.to_pylist():
            if row["key"] in mine:
                mine.remove(row["key"])
                found.append(row)
    return pa.Table.from_pylist(found, schema=SCHEMA)


def _kind(stored: StoredObject) -> str:
    if STAMP_MANIFEST not in stored.info.metadata:
        return "foreign"
    said = pq.ParquetFile(io.BytesIO(stored.body)).metadata.metadata
    return "laid out" if LAYOUT_KEY in said else "plain"
