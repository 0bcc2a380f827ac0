"""Events for validator, merger and chunk worker that need permissions: ``trials`` says which.

As those of ``trials_of_sources``, they are new, and most end in themselves.
"""

import json
from urllib.parse import quote_plus

from contracts.chunks import ActionName, ActionPayload, ProcessChunk, RunAction
from contracts.fetching import ValidateFetched
from contracts.fields import EntityField
from contracts.loads import LandedSegment, LoadManifest, PartGroup, PlannedPart, SourceSegment
from contracts.runs import LoadType, RunMode
from contracts.segments import MergeSegment, Occurrence, SegmentCounts
from services.merger.adapters.loads import S3Loads
from services.merger.core.loads import generation_of, ingestion_id
from tests.deploy.forging import AGAIN, ENTITY, JOB, PORTAL, Forge, Trial

INTERFACE = "ecommerce.shipments"
"""An entity whose fields are declared."""


def _announced(forge: Forge, put: Occurrence) -> Trial:
    thing = {"key": quote_plus(put.key), "versionId": put.version_id, "eTag": put.etag, "size": put.size}
    about = {"bucket": {"name": put.bucket}, "object": thing}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": about}
    return Trial(forge.asking.event("validate-objects", json.dumps({"Records": [record]})))


async def a_good_upload(forge: Forge) -> Trial:
    """An upload, announced once more."""
    return _announced(forge, await forge.upload("merged"))


async def a_bad_upload(forge: Forge) -> Trial:
    """An upload that is no event, announced once more."""
    return _announced(forge, await forge.upload("quarantined"))


async def a_strange_row(forge: Forge) -> Trial:
    """A raw object with a column that nobody declared."""
    name, put = await forge.raw_rows({forge.new("column"): "value"})
    command = ValidateFetched(
        pipeline=PORTAL, run_id=name.run_id, segment_id=name.segment_id, bucket=put.bucket, key=put.key
    )
    return Trial(forge.command("validate-objects", command, name.run_id))


async def a_planned_segment(forge: Forge) -> Trial:
    """A segment whose list of objects is checked in."""
    command, _ = await forge.validation()
    return Trial(forge.command("validate-objects", command, command.run_id))


async def a_raw_object_of_a_failed_run(forge: Forge) -> Trial:
    """A command of a run that has failed, whose receiver may have died before it said so."""
    run_id = await forge.failed_run(ENTITY)
    key = f"raw/2024/01/01/{ENTITY}/{run_id}/trial.land"
    command = ValidateFetched(pipeline=ENTITY, run_id=run_id, segment_id="trial", bucket="any", key=key)
    return Trial(forge.command("validate-objects", command, run_id, receives=AGAIN))


async def a_validated_segment(forge: Forge) -> Trial:
    """A segment of one new row, for a checkpoint that there is not yet."""
    command, _ = await forge.segment()
    return Trial(forge.command("merge-segments", command, "trial"))


async def a_load_in_pieces(forge: Forge) -> Trial:
    """The last segment of a load that was decided before, in two groups; there is no row in it."""
    session, pipeline = forge.session, forge.session.pipeline(INTERFACE)
    processed = session.settings.resource("processed")
    loads = S3Loads(session.objects, session.settings.resource("state"))
    head = await session.checkpoints.head(f"{processed}/data/bronze/shipments")
    stored = await loads.manifest(INTERFACE, head.version + 1)
    manifest = None if stored is None else stored.manifest
    if manifest is None:
        before = await loads.manifest(INTERFACE, head.version) if head.version else None
        run_id, now = await forge.run_of_one(INTERFACE, RunMode.KEYS, "trial"), session.clock.now()
        key = f"{INTERFACE}/{run_id}/trial.json"
        places = [f"data/bronze/shipments/{run_id}/part-{number}.parquet" for number in range(2)]
        manifest = LoadManifest(
            pipeline=INTERFACE,
            version=head.version + 1,
            generation=generation_of(LoadType.KEYS, head.version + 1, None if before is None else before.manifest),
            run_id=run_id,
            load_type=LoadType.KEYS,
            run_date=now.date().isoformat(),
            ingestion_ts=now.isoformat(timespec="microseconds"),
            ingestion_id=ingestion_id(run_id),
            bucket=processed,
            fields=[EntityField(name="shipment_id", type="string")],
            segments=[SourceSegment(segment_id="trial", bucket=session.settings.resource("validated"), key=key)],
            groups=[PartGroup(parts=[PlannedPart(key=part, date=None, share=0, shares=1)]) for part in places],
        )
        segment = LandedSegment(
            pipeline=INTERFACE,
            run_id=run_id,
            run_date=manifest.run_date,
            segment_id="trial",
            load_type=LoadType.KEYS,
            fields=manifest.fields,
            bucket=session.source_bucket(pipeline),
            key="nowhere",
            etag="none",
            counts=SegmentCounts(),
            chunks=[],
        )
        await session.objects.put(manifest.segments[0].bucket, key, segment.model_dump_json().encode())
        await loads.create(manifest)
    source = manifest.segments[0]
    command = MergeSegment(bucket=source.bucket, key=source.key)
    return Trial(forge.command("merge-segments", command, manifest.run_id))


async def chunks_of_no_snapshot(forge: Forge) -> Trial:
    """The chunks of a run that never took a snapshot, which ends it."""
    run_id = forge.new("report")
    await forge.open_run(JOB, run_id, RunMode.CHUNKS)
    command = RunAction(pipeline=JOB, action=ActionName.GET_CHUNKS, payload=ActionPayload(run_id=run_id))
    return Trial(forge.command("chunk-jobs", command, run_id))


async def a_chunk_of_no_run(forge: Forge) -> Trial:
    """A chunk of a run that there is not, which goes to the dead letters."""
    run_id = forge.new("report")
    return Trial(forge.command("chunk-jobs", ProcessChunk(pipeline=JOB, run_id=run_id, chunk_id="c1"), run_id))


async def an_action_of_a_machine(forge: Forge) -> Trial:
    """An action for a state machine that waits no more."""
    command = RunAction(pipeline=JOB, action=ActionName.VALIDATE_CONFIG, task_token=forge.new("token"))
    return Trial(forge.command("chunk-jobs", command, JOB))
