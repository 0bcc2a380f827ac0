"""Reading a batch: which segments its announcements and commands ask for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from contracts.catalog import VALIDATOR_COMMANDS
from contracts.envelope import UnreadableMessageError, open_message
from contracts.fetching import ValidateFetched
from contracts.pipelines import Pipeline
from contracts.segments import Occurrence, ValidateSegment
from contracts.sources import FetchedName
from services.runtime.declarations import pipeline_for
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import BadDeclarationError, MalformedError, TemporaryError, TidegateError
from services.runtime.handling import handling
from services.runtime.notifications import is_notification, read_notification
from services.validator.core.fetched import FetchedWork, name_of
from services.validator.core.landed.segments import LandedWork
from services.validator.core.segments import SegmentWork, events_run_id, form_segments
from services.validator.ports import Ports

log = structlog.get_logger()


class _Requests:
    """What a batch asks for; repetitions are gathered, so that each segment is made once."""

    def __init__(self) -> None:
        self.planned: list[SegmentWork] = []
        self.fetched: dict[tuple[str, str, str, bool], FetchedWork] = {}
        self.announced: dict[str, list[tuple[str, Occurrence]]] = {}

    def fetch(self, work: FetchedWork) -> None:
        """Add a raw object."""
        key = (work.location, work.run_id, work.segment_id, work.replay)
        known = self.fetched.get(key, work)
        deliveries, again = known.deliveries | work.deliveries, known.again or work.again
        self.fetched[key] = replace(known, deliveries=deliveries, again=again)


async def read_requests(
    ports: Ports, deliveries: Sequence[Delivery], outcome: Outcome
) -> list[SegmentWork | FetchedWork]:
    """The segments to be made; deliveries that cannot be read fail alone."""
    found = _Requests()
    for delivery in deliveries:
        try:
            await _read(ports, found, delivery)
        except (TidegateError, UnreadableMessageError) as error:
            with handling(delivery):
                log.error("unreadable delivery", error=str(error), delivery=delivery.id)
            delay = error.delay if isinstance(error, TemporaryError) else None
            outcome.fail([delivery.id], str(error), delay=delay)
    works: list[SegmentWork | FetchedWork] = [*found.planned, *found.fetched.values()]
    for name, occurrences in found.announced.items():
        works += form_segments(ports.pipelines[name], occurrences, events_run_id(name, ports.clock.now()))
    return works


async def _read(ports: Ports, found: _Requests, delivery: Delivery) -> None:
    if is_notification(delivery.body):
        for occurrence in read_notification(delivery.body):
            _announce(ports, found, delivery, occurrence)
    else:
        await _command(ports, found, delivery)


def _announce(ports: Ports, found: _Requests, delivery: Delivery, occurrence: Occurrence) -> None:
    pipeline = pipeline_for(ports.pipelines, occurrence.bucket, occurrence.key, default_bucket=ports.raw_bucket)
    if pipeline is None:
        with handling(delivery):
            log.info("no pipeline reads this object", uri=occurrence.uri)
    elif not pipeline.is_fetched:
        found.announced.setdefault(pipeline.name, []).append((delivery.id, occurrence))
    else:
        found.fetch(_fetched(pipeline, name_of(pipeline, occurrence.key), occurrence.bucket, occurrence.key, delivery))


async def _command(ports: Ports, found: _Requests, delivery: Delivery) -> None:
    _, command = open_message(delivery.body, VALIDATOR_COMMANDS)
    if isinstance(command, ValidateSegment):
        found.planned.append(await _planned(ports, command, delivery))
    elif isinstance(command, ValidateFetched):
        pipeline = _pipeline(ports, command.pipeline)
        name = name_of(pipeline, command.key)
        work = _fetched(pipeline, name, command.bucket, command.key, delivery)
        found.fetch(replace(work, run_id=command.run_id, segment_id=command.segment_id, replay=command.replay))
    else:
        raise MalformedError(f"{command.kind()} is not for the validator")


def _fetched(pipeline: Pipeline, name: FetchedName, bucket: str, key: str, delivery: Delivery) -> FetchedWork:
    kind = LandedWork if pipeline.is_landed else FetchedWork
    return kind(
        pipeline=pipeline,
        run_id=name.run_id,
        segment_id=name.segment_id,
        run_date=name.run_date,
        bucket=bucket,
        key=key,
        deliveries=frozenset([delivery.id]),
        again=delivery.receives > 1,
    )


async def _planned(ports: Ports, command: ValidateSegment, delivery: Delivery) -> SegmentWork:
    pipeline = _pipeline(ports, command.pipeline)
    if pipeline.is_fetched:
        raise MalformedError(f"pipeline {pipeline.name} has no uploaded objects: its rows are fetched")
    occurrences = (await ports.claims.occurrences(command.occurrences)).occurrences
    since = None if command.since_timestamp is None else datetime.fromisoformat(command.since_timestamp)
    return SegmentWork(
        pipeline=pipeline,
        run_id=command.run_id,
        segment_id=command.segment_id,
        occurrences=tuple(occurrences),
        deliveries=frozenset([delivery.id]),
        received=len(occurrences),
        planned=True,
        destination=command.destination,
        since_timestamp=since,
        replay=command.replay,
    )


def _pipeline(ports: Ports, name: str) -> Pipeline:
    pipeline = ports.pipelines.get(name)
    if pipeline is None:
        raise BadDeclarationError(f"there is no pipeline {name!r} here")
    return pipeline
