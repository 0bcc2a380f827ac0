"""What a batch asks for of loads: segments that were validated, and groups of parts that are to be written."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import structlog

from contracts.loads import LandedSegment, WriteParts
from contracts.pipelines import Pipeline
from services.merger.ports import Ports
from services.merger.use_case.landed import take_landed
from services.merger.use_case.publishing import write_parts
from services.runtime.deliveries import Delivery
from services.runtime.failures import BadDeclarationError, CorruptCheckpointError, MissingObjectError, TidegateError
from services.runtime.handling import handling, named
from services.runtime.telemetry import correlated

log = structlog.get_logger()

READS_IN_FLIGHT = 16

Wanted = dict[tuple[str, str], set[str]]
"""Objects by bucket and key, and the deliveries that are about each."""
Asked = Mapping[str, Delivery]
"""The deliveries of a batch by their ids."""
Ids = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Failed:
    """Deliveries that must come again, and why. Those of a load that is damaged wait for somebody to mend it."""

    deliveries: Collection[str]
    error: TidegateError
    ids: Ids = field(default_factory=dict)
    """What log lines about it name."""

    @property
    def is_blocked(self) -> bool:
        """Whether nothing moves until an operator acts."""
        return isinstance(self.error, (CorruptCheckpointError, MissingObjectError))


@dataclass(slots=True)
class _Arrivals:
    """Segments of one run."""

    pipeline: str
    segments: list[tuple[str, LandedSegment]] = field(default_factory=list)
    deliveries: set[str] = field(default_factory=set)


async def take_segments(ports: Ports, wanted: Wanted, asked: Asked) -> list[Failed]:
    """Take validated segments, run by run; runs of different entities side by side."""
    limit = asyncio.Semaphore(READS_IN_FLIGHT)

    async def read(bucket: str, key: str) -> LandedSegment | TidegateError:
        async with limit:
            try:
                return await ports.loads.landed(bucket, key)
            except TidegateError as error:
                return error

    locations = sorted(wanted)
    found = await asyncio.gather(*(read(*location) for location in locations))
    failed: list[Failed] = []
    runs: dict[str, _Arrivals] = {}
    for location, segment in zip(locations, found, strict=True):
        if isinstance(segment, TidegateError):
            failed.append(Failed(wanted[location], segment))
            continue
        arrivals = runs.setdefault(segment.run_id, _Arrivals(segment.pipeline))
        arrivals.segments.append(("/".join(location), segment))
        arrivals.deliveries |= wanted[location]
    outcomes = await asyncio.gather(*(_take(ports, run_id, arrivals, asked) for run_id, arrivals in runs.items()))
    return failed + [outcome for outcome in outcomes if outcome is not None]


async def _take(ports: Ports, run_id: str, arrivals: _Arrivals, asked: Asked) -> Failed | None:
    ids: Ids = {
        "pipeline": arrivals.pipeline,
        "run_id": run_id,
        "segment_id": named([segment.segment_id for _, segment in arrivals.segments]),
    }
    with handling(*(asked[name] for name in sorted(arrivals.deliveries))), correlated(**ids):
        try:
            await take_landed(ports, _pipeline(ports, arrivals.pipeline), run_id, arrivals.segments)
        except TidegateError as error:
            return await _failed(ports, Failed(arrivals.deliveries, error, ids), run_id)
    return None


async def write_groups(ports: Ports, wanted: Mapping[WriteParts, set[str]], asked: Asked) -> list[Failed]:
    """Write groups of parts, as many side by side as the port allows."""

    async def write(command: WriteParts, deliveries: Collection[str]) -> Failed | None:
        ids: Ids = {"pipeline": command.pipeline, "version": str(command.version), "group": str(command.group)}
        with handling(*(asked[name] for name in sorted(deliveries))), correlated(**ids):
            try:
                await write_parts(ports, _pipeline(ports, command.pipeline), command)
            except TidegateError as error:
                stored = await ports.loads.manifest(command.pipeline, command.version)
                return await _failed(ports, Failed(deliveries, error, ids), stored.manifest.run_id if stored else None)
        return None

    outcomes = await asyncio.gather(*(write(command, deliveries) for command, deliveries in wanted.items()))
    return [outcome for outcome in outcomes if outcome is not None]


async def _failed(ports: Ports, failed: Failed, run_id: str | None) -> Failed:
    if failed.is_blocked and run_id is not None and await ports.ledger.run(run_id) is not None:
        log.error("a load is damaged; it waits", error=str(failed.error))
        await ports.ledger.block_run(run_id, str(failed.error))
    return failed


def _pipeline(ports: Ports, name: str) -> Pipeline:
    pipeline = ports.pipelines.get(name)
    if pipeline is None or not pipeline.is_landed:
        raise BadDeclarationError(f"there is no entity {name!r} here")
    return pipeline
