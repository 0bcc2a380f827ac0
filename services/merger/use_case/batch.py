"""One batch of announcements and commands → merges and restores; what cannot be done now comes back alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from contracts.catalog import MERGER_COMMANDS
from contracts.checkpoints import RestoreCheckpoint
from contracts.envelope import UnreadableMessageError, open_message
from contracts.loads import WriteParts
from contracts.pipelines import Pipeline
from contracts.segments import Destination, MergeSegment
from services.merger.core.loads import LANDED_SUFFIX
from services.merger.ports import LoadedSegment, Ports
from services.merger.use_case.load_batch import Asked, Failed, Wanted, take_segments, write_groups
from services.merger.use_case.merge import merge_segments
from services.merger.use_case.restore import restore_checkpoint
from services.merger.use_case.tables import merge_into_table
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import (
    BadDeclarationError,
    CorruptCheckpointError,
    LeaseHeldError,
    MalformedError,
    TemporaryError,
    TidegateError,
)
from services.runtime.handling import handling, measured, named
from services.runtime.notifications import is_notification, read_notification
from services.runtime.telemetry import correlated

log = structlog.get_logger()

BLOCKED_DELAY_S = 20.0
"""How long segments wait before they try a damaged checkpoint again."""
LEASE_RETRY_S = 5.0
"""How long segments wait for another merger at most: it is mostly done long before its lease runs out, and the queue's
receives still last longer than the lease of one that died."""
SEGMENT_SUFFIX = ".parquet"


@dataclass(slots=True)
class _Group:
    """Segments that are committed together, and the deliveries that asked for them: one checkpoint's, or a table's."""

    pipeline: Pipeline
    destination: Destination
    scope: str
    segments: list[LoadedSegment] = field(default_factory=list)
    deliveries: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Requests:
    """What the deliveries of a batch ask for, and which of them does."""

    segments: Wanted = field(default_factory=dict)
    landed: Wanted = field(default_factory=dict)
    groups: dict[WriteParts, set[str]] = field(default_factory=dict)
    restores: list[tuple[str, RestoreCheckpoint]] = field(default_factory=list)

    def want(self, bucket: str, key: str, delivery_id: str) -> None:
        """Note that a delivery is about this object; others in the bucket are nobody's to merge."""
        if key.endswith(SEGMENT_SUFFIX):
            self.segments.setdefault((bucket, key), set()).add(delivery_id)
        elif key.endswith(LANDED_SUFFIX):
            self.landed.setdefault((bucket, key), set()).add(delivery_id)


@measured
async def merge_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Merge everything a batch asks for, with one commit per checkpoint."""
    outcome = Outcome()
    requests = _read_requests(deliveries, outcome)
    asked = {delivery.id: delivery for delivery in deliveries}
    for delivery_id, command in requests.restores:
        ids = {"request_id": command.request_id, "pipeline": command.pipeline}
        with handling(asked[delivery_id]), correlated(**ids):
            try:
                await restore_checkpoint(ports, _restorable(ports, command.pipeline), command)
            except TidegateError as error:
                _fail(outcome, {delivery_id}, error, asked)
    taken = await take_segments(ports, requests.landed, asked)
    for failed in (*taken, *await write_groups(ports, requests.groups, asked)):
        with correlated(**failed.ids):
            _fail_load(outcome, failed, asked)
    for group in await _load(ports, requests.segments, asked, outcome):
        with handling(*(asked[name] for name in sorted(group.deliveries))), correlated(**_ids_of(group)):
            try:
                if group.pipeline.is_collected:
                    await merge_into_table(ports, group.pipeline, group.segments)
                else:
                    await merge_segments(ports, group.pipeline, group.destination, group.segments)
            except CorruptCheckpointError as error:
                await _block(ports, group, error, outcome)
            except TidegateError as error:
                _fail(outcome, group.deliveries, error, asked)
    return outcome


def _read_requests(deliveries: Sequence[Delivery], outcome: Outcome) -> _Requests:
    requests = _Requests()
    for delivery in deliveries:
        try:
            _read(requests, delivery)
        except (MalformedError, UnreadableMessageError) as error:
            with handling(delivery):
                log.error("unreadable delivery", error=str(error), delivery=delivery.id)
            outcome.fail([delivery.id], str(error))
    return requests


def _read(requests: _Requests, delivery: Delivery) -> None:
    if is_notification(delivery.body):
        for occurrence in read_notification(delivery.body):
            requests.want(occurrence.bucket, occurrence.key, delivery.id)
        return
    _, command = open_message(delivery.body, MERGER_COMMANDS)
    if isinstance(command, MergeSegment):
        requests.want(command.bucket, command.key, delivery.id)
    elif isinstance(command, RestoreCheckpoint):
        requests.restores.append((delivery.id, command))
    elif isinstance(command, WriteParts):
        requests.groups.setdefault(command, set()).add(delivery.id)


def _ids_of(group: _Group) -> dict[str, str | list[str]]:
    """What log lines about a group name: it may hold segments of several runs."""
    abouts = [segment.descriptor for segment in group.segments]
    return {
        "pipeline": group.pipeline.name,
        "checkpoint": group.destination.uri,
        "run_id": named([about.run_id for about in abouts]),
        "segment_id": named([about.segment_id for about in abouts]),
    }


async def _load(ports: Ports, wanted: Wanted, asked: Asked, outcome: Outcome) -> list[_Group]:
    """Read the segments; those that cannot be read fail alone."""
    locations = sorted(wanted)
    loaded = await asyncio.gather(*(_try_load(ports, bucket, key) for bucket, key in locations))
    groups: dict[tuple[str, str], _Group] = {}
    for location, segment in zip(locations, loaded, strict=True):
        if isinstance(segment, TidegateError):
            _fail(outcome, wanted[location], segment, asked)
            continue
        about = segment.descriptor
        try:
            pipeline = _pipeline(ports, about.pipeline)
        except BadDeclarationError as error:
            _fail(outcome, wanted[location], error, asked)
            continue
        together = "" if pipeline.is_collected else about.destination.uri
        group = groups.setdefault((together, about.scope), _Group(pipeline, about.destination, about.scope))
        group.segments.append(segment)
        group.deliveries |= wanted[location]
    return list(groups.values())


async def _try_load(ports: Ports, bucket: str, key: str) -> LoadedSegment | TidegateError:
    try:
        return await ports.segments.read(bucket, key)
    except TidegateError as error:
        return error


def _pipeline(ports: Ports, name: str) -> Pipeline:
    pipeline = ports.pipelines.get(name)
    if pipeline is None:
        raise BadDeclarationError(f"there is no pipeline {name!r} here")
    return pipeline


def _restorable(ports: Ports, name: str) -> Pipeline:
    pipeline = _pipeline(ports, name)
    if pipeline.is_landed:
        raise BadDeclarationError(f"{name}: loads are not restored; a full load starts the entity anew")
    return pipeline


async def _block(ports: Ports, group: _Group, error: CorruptCheckpointError, outcome: Outcome) -> None:
    """The segments wait for a restore; the runs they belong to say why nothing moves."""
    log.error("checkpoint is damaged; its segments wait", error=str(error), segments=len(group.segments))
    for run_id in sorted({s.descriptor.run_id for s in group.segments}):
        await ports.ledger.block_run(run_id, str(error))
    outcome.fail(sorted(group.deliveries), str(error), delay=BLOCKED_DELAY_S)


def _fail_load(outcome: Outcome, failed: Failed, asked: Asked) -> None:
    if failed.is_blocked:
        outcome.fail(sorted(failed.deliveries), str(failed.error), delay=BLOCKED_DELAY_S)
    else:
        _fail(outcome, set(failed.deliveries), failed.error, asked)


def _fail(outcome: Outcome, deliveries: set[str], error: TidegateError, asked: Asked) -> None:
    with handling(*(asked[name] for name in sorted(deliveries))):
        log.warning("not merged", error=str(error), kind=type(error).__name__, deliveries=len(deliveries))
    delay = error.delay if isinstance(error, TemporaryError) else None
    if isinstance(error, LeaseHeldError):
        delay = min(error.delay, LEASE_RETRY_S)
    outcome.fail(sorted(deliveries), str(error), delay=delay)
