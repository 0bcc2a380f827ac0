"""The run ledger: what happened to each unit of a run, with counts that must add up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement


class Step(StrEnum):
    """How far a segment has come; each step is taken once."""

    PLANNED = "planned"
    FETCHED = "fetched"
    VALIDATED = "validated"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class ScanCounts:
    """What the planner's listing found: occurrences listed are dispatched, ignored (foreign) or settled."""

    listed: int = 0
    dispatched: int = 0
    ignored: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collecting run covers of its source, by cursor, and what its success will move."""

    start: str
    """Where it starts to read."""
    end: str
    """The last complete group of rows it reads, or ``start`` if there is nothing."""
    complete_until: str | None = None
    """Up to here nothing can be published any more once this run has succeeded."""
    limit: int | None = None
    """``max_records``, if the run stopped there."""
    expected_rows: int = 0
    mirror: str | None = None
    """``{bucket}/{key}`` of the state mirror."""
    entity: str | None = None
    """Of loads: the entity's name in the mirror."""
    resume: str | None = None
    """Name of the watermark that a forced load goes on from when its limit stopped it."""
    resume_version: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``planned`` is the number of segments it consists of, None until that is known."""

    run_id: str
    pipeline: str
    mode: RunMode
    state: RunState
    started_at: str
    planned: int | None = None
    settled: int = 0
    finished_at: str | None = None
    reason: str | None = None
    scan: ScanCounts = field(default_factory=ScanCounts)
    destination: str | None = None
    frontier: str | None = None
    """What the watermark may say once every segment of this run is settled."""
    watermark_version: int = 0
    """Version of the watermark before the source was listed; the run may move it from there only."""
    collection: Collection | None = None
    """Of collecting runs and of loads."""
    parent: str | None = None
    """The group's run that this one is a part of."""
    children: tuple[str, ...] = ()
    """Of a group's run: the runs of its entities. It ends when all of them have."""
    log: str | None = None
    """Of a group's run: ``{bucket}/{key}`` of the log object that is written when it ends."""
    failed: int = 0
    """Of a chunked run: chunks that failed; ``planned`` and ``settled`` count its chunks, too."""
    paused: bool = False
    """Of a chunked run: an operator holds it, so no further chunk of it is begun."""
    resumed_at: str | None = None
    """Of a chunked run: when it was last let go on."""


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One segment of a run."""

    run_id: str
    segment_id: str
    step: Step
    planned: int = 0
    """Occurrences the planner put into it; 0 for segments that events formed, and for ranges still to be fetched."""
    counts: SegmentCounts = field(default_factory=SegmentCounts)
    settlement: Settlement | None = None
    location: str | None = None
    """``{bucket}/{key}`` of the validated object."""
    version: int | None = None
    """The checkpoint version that holds its rows."""
    updated_at: str = ""
    fetched: int | None = None
    """Rows in its raw object; None where nothing is fetched."""
    raw_location: str | None = None
    """``{bucket}/{key}`` of the raw object."""


class Ledger(Protocol):
    """Writes each step once; repeating any call after an unknown outcome is safe."""

    async def open_run(self, run: Run) -> bool:
        """Create the run; False if it exists already (it is then left alone).

        Raises:
            BadDeclarationError: no run may have this id.
        """
        ...

    async def plan_segments(self, run_id: str, segments: Sequence[tuple[str, int]]) -> None:
        """Enter planned segments as (id, occurrences); those already entered are left alone."""
        ...

    async def start_run(
        self,
        run_id: str,
        *,
        planned: int,
        scan: ScanCounts,
        frontier: str | None,
        watermark_version: int = 0,
        collection: Collection | None = None,
    ) -> None:
        """Record that a plan is complete and dispatched: PLANNING → RUNNING."""
        ...

    async def segment_fetched(self, run_id: str, segment_id: str, rows: int, location: str) -> None:
        """PLANNED → FETCHED, with the rows of the raw object. A segment that is further keeps its step."""
        ...

    async def segment_validated(self, run_id: str, segment_id: str, counts: SegmentCounts, location: str) -> None:
        """PLANNED (or nothing) → VALIDATED. A segment that is MERGED already stays so."""
        ...

    async def segment_merged(
        self, run_id: str, segment_id: str, settlement: Settlement, *, location: str, version: int | None
    ) -> bool:
        """→ MERGED, and the run's ``settled`` + 1, in one transaction. False if it was taken before."""
        ...

    async def finish_run(self, run_id: str, state: RunState, *, reason: str | None = None) -> bool:
        """PLANNING or RUNNING → a final state; True for the one call that did it."""
        ...

    async def pause_run(self, run_id: str, *, paused: bool) -> bool:
        """Hold an unfinished run, or let it go on; False if it has ended."""
        ...

    async def reopen_run(self, run_id: str) -> bool:
        """FAILED or CANCELLED → RUNNING, and not paused; False if it has not ended, or has succeeded.

        A run that ended before it had a plan goes back to PLANNING instead.
        """
        ...

    async def block_run(self, run_id: str, reason: str) -> None:
        """Say on an unfinished run why nothing moves; the next segment that is merged clears it."""
        ...

    async def run(self, run_id: str) -> Run | None:
        """One run (consistent read)."""
        ...

    async def segment(self, run_id: str, segment_id: str) -> SegmentEntry | None:
        """One segment of a run (consistent read)."""
        ...

    async def segments(self, run_id: str) -> list[SegmentEntry]:
        """Every segment of a run (consistent read), by id."""
        ...

    async def runs(self, *, limit: int = 50) -> list[Run]:
        """The newest runs, newest first."""
        ...
