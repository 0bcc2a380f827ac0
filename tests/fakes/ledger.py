"""The run ledger in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from contracts.runs import RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.clock import Clock
from services.runtime.failures import BadDeclarationError, MissingObjectError
from services.runtime.ledger import Collection, Run, ScanCounts, SegmentEntry, Step
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects

UNFINISHED = frozenset({RunState.PLANNING, RunState.RUNNING})


@dataclass
class FakeLedgerTable:
    """What the table holds; ``stamps`` says which call wrote what can be written once."""

    runs: dict[str, Run] = field(default_factory=dict)
    segments: dict[tuple[str, str], SegmentEntry] = field(default_factory=dict)
    counted: set[tuple[str, str]] = field(default_factory=set)
    chunks: dict[tuple[str, str], ChunkEntry] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)


class FakeLedger:
    """``Ledger`` over a table in memory."""

    def __init__(
        self, clock: Clock | None = None, *, effects: Effects | None = None, table: FakeLedgerTable | None = None
    ) -> None:
        self.table = table or FakeLedgerTable()
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects) -> "FakeLedger":
        """The same ledger as another process reaches it."""
        return FakeLedger(self._clock, effects=effects, table=self.table)

    async def open_run(self, run: Run) -> bool:
        """See ``Ledger``."""
        stamp = uuid4().hex
        if run.run_id == "runs":
            raise BadDeclarationError(f"no run may be called {run.run_id!r}")

        def enter() -> bool:
            if run.run_id not in self.table.runs:
                self.table.runs[run.run_id] = run
                self.table.stamps[f"opened {run.run_id}"] = stamp
            return self.table.stamps[f"opened {run.run_id}"] == stamp

        return await self.effects.perform(f"open run {run.run_id}", enter)

    async def plan_segments(self, run_id: str, segments: Sequence[tuple[str, int]]) -> None:
        """See ``Ledger``; each segment is an effect of its own."""

        async def enter(segment_id: str, planned: int) -> None:
            entry = SegmentEntry(run_id, segment_id, Step.PLANNED, planned=planned, updated_at=self._now())
            await self.effects.perform(
                f"plan segment {run_id}/{segment_id}",
                lambda: self.table.segments.setdefault((run_id, segment_id), entry),
            )

        for segment_id, planned in segments:
            await enter(segment_id, planned)

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
        """See ``Ledger``."""

        def start() -> None:
            run = self._run(run_id)
            if run.state is RunState.PLANNING:
                self.table.runs[run_id] = replace(
                    run,
                    state=RunState.RUNNING,
                    planned=planned,
                    scan=scan,
                    frontier=run.frontier if frontier is None else frontier,
                    watermark_version=watermark_version,
                    collection=collection,
                )

        await self.effects.perform(f"start run {run_id}", start)

    async def segment_fetched(self, run_id: str, segment_id: str, rows: int, location: str) -> None:
        """See ``Ledger``."""

        def enter() -> None:
            key = (run_id, segment_id)
            entry = self.table.segments.get(key) or SegmentEntry(run_id, segment_id, Step.PLANNED)
            if entry.fetched is None:
                entry = replace(entry, fetched=rows, raw_location=location)
            if entry.step is Step.PLANNED:
                entry = replace(entry, step=Step.FETCHED, updated_at=self._now())
            self.table.segments[key] = entry

        await self.effects.perform(f"fetched segment {run_id}/{segment_id}", enter)

    async def segment_validated(self, run_id: str, segment_id: str, counts: SegmentCounts, location: str) -> None:
        """See ``Ledger``."""

        def enter() -> None:
            key = (run_id, segment_id)
            entry = self.table.segments.get(key) or SegmentEntry(run_id, segment_id, Step.PLANNED)
            if key in self.table.counted:
                return
            self.table.counted.add(key)
            entry = replace(entry, counts=counts, location=location)
            if entry.step is not Step.MERGED:
                entry = replace(entry, step=Step.VALIDATED, updated_at=self._now())
            self.table.segments[key] = entry

        await self.effects.perform(f"validated segment {run_id}/{segment_id}", enter)

    async def segment_merged(
        self, run_id: str, segment_id: str, settlement: Settlement, *, location: str, version: int | None
    ) -> bool:
        """See ``Ledger``."""
        stamp = uuid4().hex

        def settle() -> bool:
            run, key = self._run(run_id), (run_id, segment_id)
            entry = self.table.segments.get(key) or SegmentEntry(run_id, segment_id, Step.PLANNED)
            if entry.step is not Step.MERGED:
                self.table.segments[key] = replace(
                    entry,
                    step=Step.MERGED,
                    settlement=settlement,
                    location=location,
                    version=version,
                    updated_at=self._now(),
                )
                self.table.runs[run_id] = replace(run, settled=run.settled + 1)
                self.table.blocked.pop(run_id, None)
                self.table.stamps[f"merged {run_id}/{segment_id}"] = stamp
            return self.table.stamps[f"merged {run_id}/{segment_id}"] == stamp

        return await self.effects.perform(f"merged segment {run_id}/{segment_id}", settle)

    async def finish_run(self, run_id: str, state: RunState, *, reason: str | None = None) -> bool:
        """See ``Ledger``."""
        stamp = uuid4().hex

        def finish() -> bool:
            run = self._run(run_id)
            if run.state in UNFINISHED:
                self.table.runs[run_id] = replace(run, state=state, reason=reason, finished_at=self._now())
                self.table.blocked.pop(run_id, None)
                self.table.stamps[f"finished {run_id}"] = stamp
            return self.table.stamps.get(f"finished {run_id}") == stamp

        return await self.effects.perform(f"finish run {run_id} as {state}", finish)

    async def pause_run(self, run_id: str, *, paused: bool) -> bool:
        """See ``Ledger``."""

        def pause() -> bool:
            run = self._run(run_id)
            if run.state in UNFINISHED:
                self.table.runs[run_id] = replace(
                    run, paused=paused, resumed_at=run.resumed_at if paused else self._now()
                )
            return run.state in UNFINISHED

        return await self.effects.perform(f"pause run {run_id}: {paused}", pause)

    async def reopen_run(self, run_id: str) -> bool:
        """See ``Ledger``."""
        stamp = uuid4().hex

        def reopen() -> bool:
            run = self._run(run_id)
            if run.state in {RunState.FAILED, RunState.CANCELLED}:
                state = RunState.PLANNING if run.planned is None else RunState.RUNNING
                self.table.runs[run_id] = replace(
                    run, state=state, paused=False, reason=None, finished_at=None, resumed_at=self._now()
                )
                self.table.blocked.pop(run_id, None)
                self.table.stamps[f"reopened {run_id}"] = stamp
            return self.table.stamps.get(f"reopened {run_id}") == stamp

        return await self.effects.perform(f"reopen run {run_id}", reopen)

    async def block_run(self, run_id: str, reason: str) -> None:
        """See ``Ledger``."""

        def block() -> None:
            if self._run(run_id).state in UNFINISHED:
                self.table.blocked[run_id] = reason

        await self.effects.perform(f"block run {run_id}", block)

    async def run(self, run_id: str) -> Run | None:
        """See ``Ledger``."""
        run = self.table.runs.get(run_id)
        return replace(run, reason=run.reason or self.table.blocked.get(run_id)) if run else None

    async def segment(self, run_id: str, segment_id: str) -> SegmentEntry | None:
        """See ``Ledger``."""
        return self.table.segments.get((run_id, segment_id))

    async def segments(self, run_id: str) -> list[SegmentEntry]:
        """See ``Ledger``."""
        found = [entry for (run, _), entry in self.table.segments.items() if run == run_id]
        return sorted(found, key=lambda entry: entry.segment_id.encode())

    async def runs(self, *, limit: int = 50) -> list[Run]:
        """See ``Ledger``."""
        newest = sorted(self.table.runs.values(), key=lambda run: (run.started_at, run.run_id), reverse=True)
        return [run for known in newest[:limit] if (run := await self.run(known.run_id))]

    def _run(self, run_id: str) -> Run:
        if run_id not in self.table.runs:
            raise MissingObjectError(f"run {run_id} is not in the ledger")
        return self.table.runs[run_id]

    def _now(self) -> str:
        return self._clock.now().isoformat()
