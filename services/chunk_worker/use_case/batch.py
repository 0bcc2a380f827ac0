"""One batch of commands → chunks and actions; what cannot be done now comes back alone.

A message is answered for before it is deleted: a state machine that waits is told, a chunk that has failed goes to the
DLQ by our own hand, for its receives say nothing of its attempts.
"""

import asyncio
from collections.abc import Sequence

import structlog
from pydantic import ValidationError

from contracts.catalog import CHUNK_COMMANDS
from contracts.chunks import ActionResult, ProcessChunk, RunAction
from contracts.envelope import Message, UnreadableMessageError, open_message
from services.chunk_worker.core.ends import ACTION_FAILED, CHUNK_FAILED, CHUNK_RETRY, Done, Dropped, Failed, Retry
from services.chunk_worker.core.health import hold_back_s
from services.chunk_worker.core.tasks import DLQ, Task
from services.chunk_worker.ports import Ports
from services.chunk_worker.use_case.actions import ActionEnd, act
from services.chunk_worker.use_case.holding import beat
from services.chunk_worker.use_case.process import process_chunk
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import (
    BadDeclarationError,
    ConflictError,
    LeaseHeldError,
    MalformedError,
    PermanentError,
    TemporaryError,
    TidegateError,
)
from services.runtime.handling import handling, measured
from services.runtime.telemetry import correlated

log = structlog.get_logger()

LONGEST_LEASE_WAIT_S = 30.0
"""Whoever waits for a chunk's lease looks again after this time at most: its holder may be done long before."""
PATIENT_RECEIVES = 10
"""Receives after which a message comes back later each time, so that a long outage does not use up those it has."""
Command = ProcessChunk | RunAction


@measured
async def work_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Do everything a batch asks for, side by side."""
    outcome = Outcome()
    try:
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                group.create_task(_handle(ports, delivery, outcome))
    except BaseExceptionGroup as failed:  # a defect, or the end of the process: the shell knows them by themselves
        raise failed.exceptions[0] from failed
    return outcome


async def _handle(ports: Ports, delivery: Delivery, outcome: Outcome) -> None:
    with handling(delivery):
        await _work(ports, delivery, outcome)


async def _work(ports: Ports, delivery: Delivery, outcome: Outcome) -> None:
    try:
        command = _read(delivery)
    except (MalformedError, UnreadableMessageError) as error:
        log.error("unreadable delivery", error=str(error), delivery=delivery.id)
        await _refuse(ports, delivery, str(error), outcome)
        return
    with correlated(**_ids_of(command)):
        try:
            try:
                end = await _carry_out(ports, command, delivery.receives)
            except PermanentError as error:
                end = Failed(str(error), ACTION_FAILED if isinstance(command, RunAction) else CHUNK_FAILED)
            await _answer(ports, command, end, delivery, outcome)
        except TidegateError as error:
            log.warning("not done", error=str(error), kind=type(error).__name__)
            await beat(ports, command.task_token)
            outcome.fail([delivery.id], str(error), delay=_delay(error, delivery.receives))


async def _refuse(ports: Ports, delivery: Delivery, reason: str, outcome: Outcome) -> None:
    """Tell a state machine that its input makes no command; what has nobody to tell is the queue's."""
    token = _token_of(delivery)
    if token is not None:
        try:
            await _tell(ports, token, Failed(reason, ACTION_FAILED))
        except TidegateError as error:
            log.warning("state machine not told", error=str(error))
        else:
            return
    outcome.fail([delivery.id], reason)


def _token_of(delivery: Delivery) -> str | None:
    """Who waits for a command that is malformed; None also where a later version of this service may read it."""
    try:
        message = Message.model_validate_json(delivery.body, extra="ignore")
    except ValidationError:
        return None
    model, token = CHUNK_COMMANDS.get(message.kind), message.body.get("task_token")
    if model is None or message.schema_version > model.schema_version or not isinstance(token, str):
        return None
    return token


def _ids_of(command: Command) -> dict[str, str]:
    about = command if isinstance(command, ProcessChunk) else command.payload
    ids = {"pipeline": command.pipeline, "run_id": about.run_id, "chunk_id": about.chunk_id}
    return {name: value for name, value in ids.items() if value is not None}


def _read(delivery: Delivery) -> Command:
    _, command = open_message(delivery.body, CHUNK_COMMANDS)
    if not isinstance(command, ProcessChunk | RunAction):
        raise MalformedError(f"{command.kind()} is not for the chunk worker")
    return command


def job_of(ports: Ports, name: str) -> LoadedJob:
    """The job of this name.

    Raises:
        BadDeclarationError: there is none here; the text names those there are.
    """
    job = ports.jobs.get(name)
    if job is None:
        raise BadDeclarationError(f"there is no chunked job {name!r} here; there are {sorted(ports.jobs)}")
    return job


async def _carry_out(ports: Ports, command: Command, receives: int) -> Done | ActionEnd:
    job = job_of(ports, command.pipeline)
    if isinstance(command, RunAction):
        return await act(ports, job, command, receives=receives)
    return await process_chunk(ports, Task(job, command.run_id, command.chunk_id, receives, command.task_token))


async def _answer(ports: Ports, command: Command, end: Done | ActionEnd, delivery: Delivery, outcome: Outcome) -> None:
    """Say what became of a command to whoever must know; a message without an entry in the outcome is deleted."""
    if command.task_token is not None:
        await _tell(ports, command.task_token, end)
    elif isinstance(end, Retry):
        outcome.fail([delivery.id], end.reason, delay=end.delay)
    elif isinstance(end, Failed):
        log.error("to the dead-letter queue", reason=end.reason)
        run_id = command.run_id if isinstance(command, ProcessChunk) else command.payload.run_id
        await ports.publisher.send(DLQ, [command], run_id=run_id or command.pipeline)
    elif isinstance(end, ActionResult):
        log.info("action carried out", action=end.action, result=end.details)


async def _tell(ports: Ports, token: str, end: Done | ActionEnd) -> None:
    if isinstance(end, Retry):
        told = await ports.answers.fail(token, CHUNK_RETRY, end.reason)
    elif isinstance(end, Failed | Dropped):
        told = await ports.answers.fail(token, end.error, end.reason)
    else:
        result = end.outcome if isinstance(end, Done) else end
        try:
            told = await ports.answers.succeed(token, result.model_dump(mode="json"))
        except PermanentError as error:  # such as a result that is too large: nothing was answered
            told = await ports.answers.fail(token, ACTION_FAILED, str(error))
    if not told:
        log.info("no state machine waits for this any more")


def _delay(error: TidegateError, receives: int) -> float | None:
    """Seconds until a message comes again; None leaves it to the queue."""
    if isinstance(error, LeaseHeldError):
        return min(error.delay, hold_back_s(receives), LONGEST_LEASE_WAIT_S)
    if isinstance(error, ConflictError):
        return hold_back_s(receives)
    if not isinstance(error, TemporaryError):
        return None
    extra = receives - PATIENT_RECEIVES
    return max(error.delay, hold_back_s(extra)) if extra > 0 else error.delay
