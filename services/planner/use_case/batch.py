"""One batch of plan requests and schedule slots → plans."""

from collections.abc import Sequence

import structlog

from contracts.catalog import PLANNER_COMMANDS
from contracts.envelope import UnreadableMessageError, open_message
from contracts.runs import PlanRun, ScheduledScan
from services.planner.core.scan import run_id_of_slot
from services.planner.core.window import SNOOZE_S
from services.planner.ports import Ports
from services.planner.use_case.plan import plan_run
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import LeaseHeldError, TemporaryError, TidegateError
from services.runtime.handling import handling, identify, measured

log = structlog.get_logger()


@measured
async def plan_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Plan everything a batch asks for; what cannot be done now comes back alone."""
    outcome = Outcome()
    for delivery in deliveries:
        with handling(delivery):
            try:
                await _plan(ports, delivery)
            except (TidegateError, UnreadableMessageError) as error:
                log.warning("not planned", error=str(error), kind=type(error).__name__, delivery=delivery.id)
                outcome.fail([delivery.id], str(error), delay=_delay(error))
    return outcome


async def _plan(ports: Ports, delivery: Delivery) -> None:
    _, command = open_message(delivery.body, PLANNER_COMMANDS)
    if isinstance(command, ScheduledScan):
        command = PlanRun(
            pipeline=command.pipeline,
            run_id=run_id_of_slot(command.pipeline, command.slot),
            collect=command.collect,
            load=command.load,
            chunk=command.chunk,
        )
    if isinstance(command, PlanRun):
        identify(run_id=command.run_id, pipeline=command.pipeline)
        await plan_run(ports, command, receives=delivery.receives)


def _delay(error: Exception) -> float | None:
    """Seconds until the request comes again; a planner holds its lease much shorter than it lasts."""
    if isinstance(error, LeaseHeldError):
        return min(error.delay, SNOOZE_S)
    return error.delay if isinstance(error, TemporaryError) else None
