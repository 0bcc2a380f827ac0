"""Files of every kind, each valid one with a serial of its own so that its row can be told from all others."""

from datetime import UTC, date, datetime, timedelta

from contracts.records import VisitEvent
from contracts.segments import Occurrence
from tests.property.event_log_world import PIPELINE, RAW
from tests.property.world.deployment import Deployment
from tests.property.world.model import Kind, Model, Uploaded

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def upload(model: Model, kind: Kind, *, slot: int = 0, hour: int = 0) -> Uploaded:
    """Put one object version; a ``slot`` used before gets a new version. ``hour`` places the event in time."""
    world: Deployment = model.world
    serial = f"n{len(model.uploads) + 1:03}"
    event = VisitEvent(
        action="submit",
        pipeline_adcid=7,
        project_label="sandbox-a" if kind is Kind.SANDBOX else "alpha",
        center_label="beta",
        gear_name="gear",
        ptid="ABC123",
        visit_date=date(2025, 12, 31),
        visit_number=serial,
        datatype="form",
        timestamp=START + timedelta(hours=hour),
    )
    body = b'{"action": "submit"}' if kind is Kind.BAD else event.model_dump_json().encode()
    if kind is Kind.BAD:
        body += serial.encode()  # not JSON, and different each time
    name = (
        f"notes-{slot}.txt" if kind is Kind.FOREIGN else f"log-submit-20260101-120000-{slot}-some-project-ABC-01.json"
    )
    info = await world.put(name, body)
    occurrence = Occurrence(
        bucket=RAW, key=PIPELINE.source.prefix + name, version_id=info.version_id, etag=info.etag, size=info.size
    )
    made = Uploaded(serial, kind, occurrence, event if kind is Kind.VALID else None, world.clock.now())
    model.uploads[serial] = made
    return made
