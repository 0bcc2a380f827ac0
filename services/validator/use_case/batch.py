"""One batch of announcements and commands → validated segments and quarantine; what fails comes back alone."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import AccessDeniedError, TemporaryError, TidegateError
from services.runtime.handling import handling, measured
from services.runtime.telemetry import correlated
from services.validator.core.fetched import FetchedWork
from services.validator.core.landed.segments import LandedWork
from services.validator.core.segments import SegmentWork
from services.validator.ports import Ports
from services.validator.use_case.landed import validate_landed
from services.validator.use_case.objects import validate_objects
from services.validator.use_case.requests import read_requests
from services.validator.use_case.rows import validate_rows

log = structlog.get_logger()

SIDE_BY_SIDE = 3
"""Raw objects of entities that are read while others are proven; each holds some megabytes."""


@measured
async def validate_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Validate everything a batch asks for; what cannot be done now comes back alone."""
    outcome = Outcome()
    works = await read_requests(ports, deliveries, outcome)
    asked = {delivery.id: delivery for delivery in deliveries}
    for work in works:
        if not isinstance(work, LandedWork):
            await _validate(ports, work, asked, outcome)
    places = asyncio.Semaphore(SIDE_BY_SIDE)
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                if isinstance(work, LandedWork):
                    group.create_task(_in_turn(places, ports, work, asked, outcome))
    except BaseExceptionGroup as failed:  # a defect, or the end of the process: the shell knows them by themselves
        raise failed.exceptions[0] from failed
    return outcome


async def _in_turn(
    places: asyncio.Semaphore, ports: Ports, work: LandedWork, asked: Mapping[str, Delivery], outcome: Outcome
) -> None:
    async with places:
        await _validate(ports, work, asked, outcome)


async def _validate(
    ports: Ports, work: SegmentWork | FetchedWork, asked: Mapping[str, Delivery], outcome: Outcome
) -> None:
    ids = {"run_id": work.run_id, "segment_id": work.segment_id, "pipeline": work.pipeline.name}
    with handling(*(asked[name] for name in sorted(work.deliveries))), correlated(**ids):
        try:
            if isinstance(work, LandedWork):
                await validate_landed(ports, work)
            elif isinstance(work, FetchedWork):
                await validate_rows(ports, work)
            else:
                await validate_objects(ports, work)
        except AccessDeniedError as error:
            try:
                await _refuse(ports, work, error, outcome)
            except TidegateError as second:
                _give_back(work, second, outcome)
        except TidegateError as error:
            _give_back(work, error, outcome)


def _give_back(work: SegmentWork | FetchedWork, error: TidegateError, outcome: Outcome) -> None:
    log.warning("segment not validated", error=str(error), kind=type(error).__name__)
    delay = error.delay if isinstance(error, TemporaryError) else None
    outcome.fail(sorted(work.deliveries), str(error), delay=delay)


async def _refuse(ports: Ports, work: SegmentWork | FetchedWork, error: AccessDeniedError, outcome: Outcome) -> None:
    """Access denied fails a planned run; announced objects go back and, in the end, to the DLQ for a redrive."""
    log.error("access denied", error=str(error))
    run = await ports.ledger.run(work.run_id)
    if run is not None and (not isinstance(work, SegmentWork) or work.planned):
        await ports.completion.fail(run, str(error))
    else:
        outcome.fail(sorted(work.deliveries), str(error))
