"""Judging the records of a raw object, and landing them if all of them are rows."""

import asyncio

from contracts.loads import Landing
from contracts.runs import LoadType
from contracts.segments import Occurrence
from contracts.sources import RestSource
from services.runtime.failures import MalformedError
from services.runtime.objects import StoredObject
from services.validator.core.fetched import ROWS
from services.validator.core.landed.cursors import reach_of
from services.validator.core.landed.packing import pack
from services.validator.core.landed.proof import Proven
from services.validator.core.landed.records import JudgedRecords, RecordJudge
from services.validator.core.landed.segments import LandedWork, Rows, fields_of, source_of
from services.validator.core.landed.types import event_date_of
from services.validator.core.unpacking import blocks_of
from services.validator.ports import LandedStore, Ports


async def judge_records(ports: Ports, work: LandedWork, load_type: LoadType) -> JudgedRecords:
    """Judge every record of a raw object.

    Raises:
        MalformedError: the object is not whole.
        MissingObjectError: it is gone.
    """
    with ports.telemetry.segment("get"):
        stored = await ports.objects.get(work.bucket, work.key)
    with ports.telemetry.segment("validate"):
        return await asyncio.to_thread(_judge, work, load_type, stored)


async def land_records(
    ports: Ports, store: LandedStore, work: LandedWork, load_type: LoadType, judged: JudgedRecords
) -> Rows:
    """Write the rows that records have become as a landing file."""
    source = _source(work)
    fields = fields_of(source, load_type)
    event_date = event_date_of(source.event_date, fields)
    about = Landing(
        pipeline=work.pipeline.name,
        run_id=work.run_id,
        segment_id=work.segment_id,
        load_type=load_type,
        fields=fields,
        rows=0,
        chunks=[],
    )
    file, landing = await asyncio.to_thread(pack, judged.rows, event_date, about)
    with ports.telemetry.segment("write"):
        bucket, info = await store.write_rows(landing, file)
    reach = reach_of(judged.rows[source.cursor]) if source.cursor in judged.rows.columns else None
    return Rows(bucket, info, load_type, fields, landing.chunks, Proven.of(reach))


def _judge(work: LandedWork, load_type: LoadType, stored: StoredObject) -> JudgedRecords:
    info, source = stored.info, _source(work)
    occurrence = Occurrence(
        bucket=work.bucket, key=work.key, version_id=info.version_id, etag=info.etag, size=info.size
    )
    judge = RecordJudge(
        work.pipeline.name,
        fields_of(source, load_type),
        declared=source.fields,
        required=[*source.key, source.cursor],
    )
    try:
        judged = judge.judge(occurrence, blocks_of(stored.body))
    except MalformedError as error:
        raise MalformedError(f"{occurrence.uri}: {error}") from error
    promised = info.metadata.get(ROWS, "")
    if str(judged.received) != promised:
        raise MalformedError(f"{occurrence.uri} has {judged.received} rows, and its {ROWS} is {promised!r}")
    return judged


def _source(work: LandedWork) -> RestSource:
    source = source_of(work)
    if not isinstance(source, RestSource):
        raise MalformedError(f"s3://{work.location} holds records, and {work.pipeline.name} is read from a table")
    return source
