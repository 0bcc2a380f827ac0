"""Appends over the emulator's S3: real parts, real conditions, real versions."""

import io
import random
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.strategies import BySize
from services.merger.adapters.tables import schema_of, sort_stable
from services.merger.core.commits import STAMP_COMMIT
from services.runtime.aws.clients import Clients
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.declarations import load_pipelines
from services.runtime.failures import ConflictError
from services.runtime.multipart import PART_MIN
from services.runtime.objects import ObjectInfo
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack

PIPELINE = load_pipelines(PROJECT / "pipelines")["visit_events"]
SCHEMA = schema_of(PIPELINE.output_columns)
START = datetime(2026, 1, 1, tzinfo=UTC)


def events(first: int, number: int) -> pa.Table:
    """Events a second apart, each with a label that does not compress."""
    labels = random.Random(first).randbytes(16 * number).hex()  # noqa: S311 - the same every time
    constants = {"action": "submit", "pipeline_adcid": 7, "ptid": "ABC123", "visit_date": date(2026, 1, 1)}
    columns = {name: [value] * number for name, value in constants.items()}
    columns["gear_name"] = [labels[32 * i : 32 * i + 32] for i in range(number)]
    columns["timestamp"] = [START + timedelta(seconds=first + i) for i in range(number)]
    return pa.table([columns.get(field.name, [None] * number) for field in SCHEMA], schema=SCHEMA)


class Checkpoint:
    """One checkpoint that is appended to."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self.objects, self.multipart = S3Objects(clients.s3), S3Multipart(clients.s3)
        self.at = Destination(bucket=bucket, key="checkpoints/events.parquet")
        self.strategy = BySize(Stores(self.objects, self.multipart), append_from=0)

    async def now(self) -> ObjectInfo | None:
        """What a HEAD says."""
        return await self.objects.head(self.at.bucket, self.at.key)

    async def merge(self, rows: pa.Table, commit_id: str) -> tuple[str, ObjectInfo]:
        """Merge; how, and into what."""
        prepared = await self.strategy.prepare(self.at, PIPELINE, await self.now(), rows, commit_id)
        return prepared.strategy, await prepared.put({STAMP_COMMIT: commit_id})

    async def rows(self) -> pa.Table:
        """What a reader finds."""
        body = (await self.objects.get(self.at.bucket, self.at.key)).body
        return pq.ParquetFile(io.BytesIO(body)).read()


@pytest.fixture
def checkpoint(clients: Clients, stack: Stack) -> Checkpoint:
    """A checkpoint in the stack's own bucket."""
    return Checkpoint(clients, stack.resource("checkpoints"))


async def test_a_large_checkpoint_grows_and_comes_back(checkpoint: Checkpoint) -> None:
    """Newer, tied and late rows, a merger that comes too late, and an earlier version: each as if it were rewritten."""
    expected = events(0, 300_000)
    how, first = await checkpoint.merge(expected, "c1")
    assert how == "append-laid-out"
    assert first.size > PART_MIN

    new = events(299_999, 1_000)
    loser = await checkpoint.strategy.prepare(checkpoint.at, PIPELINE, await checkpoint.now(), new, "loser")
    how, second = await checkpoint.merge(new, "c2")
    expected = pa.concat_tables([expected, new])
    assert how == "append"
    assert second.etag.endswith("-2"), "it was not put together from a copy and a part"
    assert (await checkpoint.rows()).equals(expected)

    with pytest.raises(ConflictError):
        await loser.put({STAMP_COMMIT: "loser"})
    assert (
        await checkpoint.multipart.abandoned(checkpoint.at.bucket, checkpoint.at.key, datetime.max.replace(tzinfo=UTC))
        == []
    )

    late = events(290_000, 10)
    how, _ = await checkpoint.merge(late, "c3")
    expected = sort_stable(pa.concat_tables([expected, late]), "timestamp")
    assert how == "append"
    assert (await checkpoint.rows()).equals(expected)

    prepared = await checkpoint.strategy.prepare_restored(
        checkpoint.at, PIPELINE, await checkpoint.now(), second.version_id, "c4"
    )
    info = await prepared.put({STAMP_COMMIT: "c4"})
    assert prepared.strategy == "append"
    assert info.etag != second.etag
    assert (await checkpoint.rows()).equals(pa.concat_tables([events(0, 300_000), new]))
    found = await checkpoint.now()
    assert found is not None
    assert (found.etag, found.metadata[STAMP_COMMIT]) == (info.etag, "c4")
