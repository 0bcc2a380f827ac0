"""One batch of announcements and commands → validated segments and quarantine; what fails comes back alone."""

from collections.abc import Sequence

import structlog

from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import AccessDeniedError, TemporaryError, TidegateError
from services.runtime.telemetry import correlated
from services.validator.core.fetched import FetchedWork
from services.validator.core.segments import SegmentWork
from services.validator.ports import Ports
from services.validator.use_case.objects import validate_objects
from services.validator.use_case.requests import read_requests
from services.validator.use_case.rows import validate_rows

log = structlog.get_logger()


async def validate_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Validate everything a batch asks for; what cannot be done now comes back alone."""
    outcome = Outcome()
    for work in await read_requests(ports, deliveries, outcome):
        with correlated(run_id=work.run_id, segment_id=work.segment_id, pipeline=work.pipeline.name):
            try:
                if isinstance(work, FetchedWork):
                    await validate_rows(ports, work)
                else:
                    await validate_objects(ports, work)
            except AccessDeniedError as error:
                await _refuse(ports, work, error, outcome)
            except TidegateError as error:
                log.warning("segment not validated", error=str(error), kind=type(error).__name__)
                delay = error.delay if isinstance(error, TemporaryError) else None
                outcome.fail(sorted(work.deliveries), str(error), delay=delay)
    ports.telemetry.flush()
    return outcome


async def _refuse(ports: Ports, work: SegmentWork | FetchedWork, error: AccessDeniedError, outcome: Outcome) -> None:
    """Access denied fails a planned run; announced objects go back and, in the end, to the DLQ for a redrive."""
    log.error("access denied", error=str(error))
    run = await ports.ledger.run(work.run_id)
    if run is not None and (not isinstance(work, SegmentWork) or work.planned):
        await ports.completion.fail(run, str(error))
    else:
        outcome.fail(sorted(work.deliveries), str(error))
