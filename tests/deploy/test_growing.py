"""A large checkpoint grows through the functions: the store copies what is there, under roles that allow just that."""

import io
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.checkpoints import RestoreCheckpoint
from contracts.envelope import Payload
from contracts.runs import PlanRun, RunState, ScanPayload
from contracts.segments import Destination, scope_of
from services.console.session import PLAN_QUEUE
from services.merger.adapters.tables import schema_of
from services.runtime.multipart import PART_MIN
from tests.deploy.asking import Asking, eventually
from tests.deploy.forging import OFF, SAMPLES, VISITS, Forge, Remains

pytestmark = pytest.mark.deploy

ROWS, WIDE = 40_000, 100
FIRST = datetime(2001, 1, 1, tzinfo=UTC)
"""Before every event of the samples, so that those come behind."""
TAG, READABLE = "trial", "readable"


@pytest.fixture
def forge(asking: Asking) -> Forge:
    """Makes runs and objects."""
    return Forge(asking, Remains())


async def large_checkpoint(forge: Forge) -> Destination:
    """A checkpoint that another writer left, too large to be rewritten for a row."""
    schema = schema_of(forge.session.pipeline(VISITS).output_columns)
    columns = {field.name: pa.nulls(ROWS, field.type) for field in schema}
    columns["timestamp"] = pa.array([FIRST + timedelta(minutes=row) for row in range(ROWS)])
    columns["ptid"] = pa.array([token_hex(WIDE) for _ in range(ROWS)])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).cast(schema), sink)
    assert sink.tell() > PART_MIN
    bucket, key = forge.session.settings.resource("checkpoints"), f"{OFF}{forge.new('large')}.parquet"
    await forge.put(bucket, key, sink.getvalue())
    return Destination(bucket=bucket, key=key)


async def merged_into(forge: Forge, destination: Destination) -> None:
    """Scan for one new event file, as a run of its own."""
    session, run_id, prefix = forge.session, forge.new("scan"), f"{OFF}{forge.new('file')}/"
    sample = SAMPLES["merged"]
    await forge.put(session.source_bucket(session.pipeline(VISITS)), prefix + sample.name, sample.body)
    payload = ScanPayload(prefix=prefix, checkpoint_key=destination.key)
    await send(forge, PLAN_QUEUE, PlanRun(pipeline=VISITS, run_id=run_id, payload=payload), run_id)

    async def has_ended() -> bool:
        run = await session.ledger.run(run_id)
        return run is not None and run.state is RunState.SUCCEEDED

    await eventually(has_ended, f"{run_id} has succeeded")


async def send(forge: Forge, queue: str, command: Payload, run_id: str) -> None:
    """Put one command into a queue."""
    await forge.session.publisher.send(queue, [command], run_id=run_id)


async def rows_in(forge: Forge, destination: Destination) -> list[datetime]:
    """The moments of a checkpoint's rows, in order."""
    stored = await forge.session.objects.get(destination.bucket, destination.key)
    moments: list[datetime] = pq.read_table(io.BytesIO(stored.body)).column("timestamp").to_pylist()
    assert moments == sorted(moments)
    return moments


async def strategies(asking: Asking, destination: Destination) -> list[str]:
    """How each commit to a checkpoint was made."""
    lines = await asking.lines("merger", destination.uri)
    return [line["strategy"] for line in lines if line["event"] == "committed"]


async def test_a_large_checkpoint_is_appended_to_and_restored(asking: Asking, forge: Forge) -> None:
    """It is laid out once; then the store copies what is there from the version that was read, there and back."""
    destination = await large_checkpoint(forge)
    await merged_into(forge, destination)
    assert len(await rows_in(forge, destination)) == ROWS + 1
    await merged_into(forge, destination)
    assert len(await rows_in(forge, destination)) == ROWS + 2
    request, name = forge.new("restore"), f"{destination.bucket}/{destination.key}"
    command = RestoreCheckpoint(
        pipeline=VISITS,
        scope=scope_of(VISITS, destination),
        request_id=request,
        destination=destination,
        version=1,
        discard=True,
    )
    await send(forge, "merge-segments", command, request)

    async def is_restored() -> bool:
        return (await forge.session.checkpoints.head(name)).version == 3

    await eventually(is_restored, "version 1 is restored")
    assert len(await rows_in(forge, destination)) == ROWS + 1
    assert await strategies(asking, destination) == ["append-laid-out", "append", "append"]
    standing = await forge.session.objects.head(destination.bucket, destination.key)
    assert standing is not None
    assert "-" in standing.etag  # as only objects have that were put together from parts


async def test_an_upload_that_fails_is_given_up(asking: Asking, forge: Forge) -> None:
    """What is denied in the midst of an upload leaves no parts behind, unless giving up is denied, too."""
    s3, destination = asking.session.clients.s3, await large_checkpoint(forge)
    bucket, key = destination.bucket, destination.key
    [writes] = [each for each in await asking.statements("merger", "service") if each["Sid"] == "MergerWritesTables"]
    # The emulator does not look at the tags of what a copy reads: the merger may read this object, and not copy it.
    tagged = {"StringEquals": {f"s3:ExistingObjectTag/{TAG}": READABLE}}
    reads = [action for action in writes["Action"] if action != "s3:PutObject"]
    instead = [
        {**writes, "Sid": "Puts", "Action": ["s3:PutObject"]},
        {**writes, "Sid": "ReadsTagged", "Action": reads, "Condition": tagged},
    ]

    async def left_behind() -> list[str]:
        found = await s3.list_multipart_uploads(Bucket=bucket, Prefix=key)
        return [upload["UploadId"] for upload in found.get("Uploads", [])]

    async with asking.resting("merger"):
        first, _ = await forge.segment(destination)
        assert not (await asking.invoke("merger", forge.command("merge-segments", first, "trial"))).failed
        second, _ = await forge.segment(destination)
        event = forge.command("merge-segments", second, "trial")
        await s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": TAG, "Value": READABLE}]})
        async with asking.without("merger", "service", "MergerWritesTables", instead=instead):
            assert (await asking.invoke("merger", event)).failed
            assert await left_behind() == []
            async with asking.without("merger", "service", "MergerGivesUpUploads"):
                assert (await asking.invoke("merger", event)).failed
            [upload] = await left_behind()
        assert not (await asking.invoke("merger", event)).failed
    assert await strategies(asking, destination) == ["append-laid-out", "append"]
    assert len(await asking.lines("merger", upload)) == 1  # it was logged, for the bucket's lifecycle rule to remove
    await s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
