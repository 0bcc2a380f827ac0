"""Small pieces of work for a deployed stack: each is new, whatever was done before, and takes a few seconds."""

from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from contracts.chunks import ChunkPayload
from contracts.envelope import Payload
from contracts.runs import CollectPayload, LoadPayload, LoadType, PlanRun
from services.console.demo.portal import open_portal
from services.console.demo.visit_events import generate
from services.console.local.machines import start_execution
from services.console.session import PLAN_QUEUE, Session
from tests.deploy.asking import Asking

PIPELINE = "visit_events"
Expected = Literal["merged", "quarantined"]
ROWS = 5
"""Of a portal whose last day has hundreds: enough days' work for every test."""
SAMPLES = {upload.expected: upload for upload in generate(7, 200)}
"""An upload for each of the things that can come of one."""


async def upload(asking: Asking, expected: Expected = "merged") -> str:
    """Put an event file of which this must come; its key."""
    session, chosen = asking.session, SAMPLES[expected]
    pipeline = session.pipeline(PIPELINE)
    key = f"{pipeline.source.prefix}new-{uuid4().hex[:8]}/{chosen.name}"
    await session.objects.put(session.source_bucket(pipeline), key, chosen.body)
    return key


async def start(asking: Asking, flow: str) -> None:
    """Start a piece of work by its name.

    Raises:
        KeyError: there is none of this name.
    """
    session = asking.session
    today = datetime.now(UTC).date()
    match flow:
        case "good upload":
            await upload(asking)
        case "bad upload":
            await upload(asking, "quarantined")
        case "scan":
            await _plan(session, PlanRun(pipeline=PIPELINE, run_id=_new(flow)))
        case "collection":
            async with open_portal(asking.deployed.variables["SOCRATA_DOMAIN_URL"]) as portal:
                await portal.clock(f"{today.isoformat()}T00:00:00.000")
            payload = CollectPayload(max_records=ROWS)
            await _plan(session, PlanRun(pipeline="nyc_311", run_id=_new(flow), collect=payload))
        case "load":
            load = LoadPayload(load_type=LoadType.FULL)
            await _plan(session, PlanRun(pipeline="ecommerce.customers", run_id=_new(flow), load=load))
        case "report":
            chunk = ChunkPayload(first_day=today, last_day=today)
            await _plan(session, PlanRun(pipeline="conflict_report", run_id=_new(flow), chunk=chunk))
        case "machine":
            chunk = ChunkPayload(first_day=today, last_day=today)
            document = {"chunk": chunk.model_dump(mode="json", exclude_none=True)}
            await start_execution(session.clients, session.settings.stack, "conflict-report-chunked", document)
        case _:
            raise KeyError(flow)


def _new(flow: str) -> str:
    return f"{flow}-{uuid4().hex[:8]}"


async def _plan(session: Session, command: PlanRun) -> None:
    messages: list[Payload] = [command]
    await session.publisher.send(PLAN_QUEUE, messages, run_id=command.run_id)
