"""What is entered and told of a raw object before its rows are passed on, whatever they become."""

import structlog

from contracts.runs import SchemaDrifted
from services.runtime.ledger import Run
from services.validator.core.fetched import FetchedWork
from services.validator.ports import Ports

log = structlog.get_logger()

COLUMNS_ANNOUNCED = 100
"""Undeclared columns in one fact, so that it stays far below a message's limit."""
COLUMN_CHARS = 200


async def tell_drift(ports: Ports, work: FetchedWork, unknown: set[str]) -> None:
    """Remember undeclared columns, and tell of those that nobody saw before this run."""
    if not unknown:
        return
    new = await ports.schemas.observe(work.pipeline.watermark, unknown, run_id=work.run_id)
    if not new:
        return
    shown = [column[:COLUMN_CHARS] for column in new]
    log.warning("columns that are not declared; they stay in the raw objects", columns=shown, uri=work.location)
    ports.telemetry.metric("UnknownColumns", len(new), pipeline=work.pipeline.name)
    for start in range(0, len(shown), COLUMNS_ANNOUNCED):
        part = shown[start : start + COLUMNS_ANNOUNCED]
        fact = SchemaDrifted(pipeline=work.pipeline.name, run_id=work.run_id, columns=part)
        await ports.publisher.announce(fact, run_id=work.run_id)


async def enter(ports: Ports, work: FetchedWork, rows: int, lost: Run) -> None:
    """The fetcher may have died before its own entry; and a run that the ledger lost must not stop its rows.

    Args:
        ports: the validator's.
        work: the raw object.
        rows: in it.
        lost: the run as it is opened again if the ledger has none.
    """
    if await ports.ledger.run(work.run_id) is None:
        await ports.ledger.open_run(lost)
    await ports.ledger.segment_fetched(work.run_id, work.segment_id, rows, work.location)
