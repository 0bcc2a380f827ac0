"""What must be true of a deployment, told from its uploads and from the checkpoint's bytes alone."""

import gzip
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from io import BytesIO

import polars as pl

from contracts.checkpoints import CommitManifest
from contracts.records import VisitEvent
from contracts.runs import RunState
from contracts.segments import Disposition, Occurrence
from services.merger.core.commits import STAMP_COMMIT, STAMP_MANIFEST
from services.runtime.checkpoints import STAMP_VERSION
from services.runtime.conservation import conserve
from services.runtime.ledger import Step
from services.runtime.objects import StoredObject
from tests.property.event_log_world import CHECKPOINTS, PIPELINE, STATE
from tests.property.world.deployment import MERGE, Deployment

SCHEMA: dict[str, pl.DataType] = {name: pl.String() for name in VisitEvent.model_fields} | {
    "pipeline_adcid": pl.Int32(),
    "visit_date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}
CHECKPOINT = f"{CHECKPOINTS}/{PIPELINE.target.key}"


class Kind(Enum):
    """What must become of an upload."""

    VALID = "valid"
    BAD = "bad"
    SANDBOX = "sandbox"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Uploaded:
    """One object version."""

    serial: str
    kind: Kind
    occurrence: Occurrence
    event: VisitEvent | None
    at: datetime


@dataclass
class Content:
    """A checkpoint version as a reader finds it: its rows by serial, in order."""

    serials: tuple[str, ...]
    events: tuple[VisitEvent, ...]


def read_content(stored: StoredObject) -> Content:
    """Read a checkpoint object and check its schema and order."""
    frame = pl.read_parquet(BytesIO(stored.body))
    assert list(frame.schema.items()) == list(SCHEMA.items()), "the schema is not exact"
    events = tuple(VisitEvent(**row) for row in frame.iter_rows(named=True))
    moments = [event.timestamp for event in events]
    assert moments == sorted(moments), "rows are not sorted by timestamp"
    return Content(tuple(event.visit_number for event in events), events)


@dataclass
class Model:
    """Follows the checkpoint version by version.

    Every valid upload carries a serial of its own, so a row tells which occurrence it is. ``settled`` are serials
    that were merged by a version which is not undone; those not in the content were discarded.
    """

    world: Deployment
    uploads: dict[str, Uploaded] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=lambda: [Content((), ())])
    added: dict[int, frozenset[str]] = field(default_factory=dict)
    undone: set[int] = field(default_factory=set)
    discards: set[str] = field(default_factory=set)
    """Serials that some restore discarded."""
    merged: int = 0
    """Rows that merge commits added, as often as they did."""
    restores: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Request id → (version, discard)."""
    replayed: bool = False
    missed: set[str] = field(default_factory=set)
    """Serials of valid files that were missing when they were judged: being quarantined settles them, too."""

    @property
    def settled(self) -> frozenset[str]:
        """Serials whose occurrence may not be merged any more."""
        return frozenset().union(*(rows for version, rows in self.added.items() if version not in self.undone))

    @property
    def valid(self) -> dict[str, VisitEvent]:
        """What the checkpoint may hold."""
        return {s: u.event for s, u in self.uploads.items() if u.kind is Kind.VALID and u.event is not None}

    async def look(self) -> None:
        """Follow new versions of the checkpoint, then hold the watermark against what is settled."""
        versions = self.world.objects.buckets[CHECKPOINTS].keys.get(PIPELINE.target.key, [])
        for stored in versions[len(self.contents) - 1 :]:
            assert stored is not None
            self._follow(stored)
        if not any("RestoreCheckpoint" in message.body for message in self.world.now_waiting(MERGE)):
            await self._hold_watermark()

    def _follow(self, stored: StoredObject) -> None:
        version = len(self.contents)
        about = stored.info.metadata
        assert int(about[STAMP_VERSION]) == version, f"version {about[STAMP_VERSION]} follows version {version - 1}"
        content = read_content(stored)
        assert len(set(content.serials)) == len(content.serials), f"version {version} holds an occurrence twice"
        valid = self.valid
        for serial, event in zip(content.serials, content.events, strict=True):
            assert valid.get(serial) == event, f"version {version} holds a row that nobody uploaded: {event}"
        manifest = self._manifest(about[STAMP_MANIFEST])
        assert (manifest.version, manifest.commit_id) == (version, about[STAMP_COMMIT])
        assert manifest.total_rows == len(content.serials)
        before = self.contents[-1]
        if manifest.kind == "merge":
            self._follow_merge(version, before, content)
        else:
            self._follow_restore(version, manifest.commit_id, content)
        self.contents.append(content)

    def _follow_merge(self, version: int, before: Content, content: Content) -> None:
        new = frozenset(content.serials) - frozenset(before.serials)
        kept = tuple(serial for serial in content.serials if serial not in new)
        assert kept == before.serials, f"version {version} lost or moved rows of the version before"
        again = new & self.settled
        assert not again, f"version {version} merged {sorted(again)} again"
        self.added[version] = new
        self.merged += len(new)

    def _follow_restore(self, version: int, request_id: str, content: Content) -> None:
        wanted, discard = self.restores[request_id]
        assert content == self.contents[wanted], f"version {version} is not what version {wanted} was"
        settled_before = self.settled
        if not discard:
            self.undone |= set(range(wanted + 1, version))
        self.added[version] = frozenset(content.serials) - self.settled
        left_out = self.settled - frozenset(content.serials)
        if discard:
            self.discards |= settled_before - frozenset(content.serials)
        assert left_out <= self.discards

    def _manifest(self, key: str) -> CommitManifest:
        stored = self.world.objects.buckets[STATE].current(key)
        assert stored is not None, f"the manifest {key} is gone"
        return CommitManifest.model_validate_json(gzip.decompress(stored.body))

    async def _hold_watermark(self) -> None:
        watermark = await self.world.tables.watermarks.read(PIPELINE.watermark)
        if watermark is None or watermark.cursor is None:
            return
        claimed = [u for u in self.uploads.values() if u.at < datetime.fromisoformat(watermark.cursor)]
        unsettled = await self._unsettled(claimed)
        assert not unsettled, f"the watermark {watermark.cursor} claims {unsettled}"

    async def _unsettled(self, uploads: list[Uploaded]) -> list[str]:
        settled = self.settled
        found = await self._dispositions(uploads)
        return [
            f"{u.serial}: {u.kind}"
            for u in uploads
            if (u.kind is Kind.VALID and u.serial not in settled and u.serial not in self.missed)
            or ((u.kind in {Kind.BAD, Kind.SANDBOX} or u.serial in self.missed) and u.occurrence.id not in found)
        ]

    async def _dispositions(self, uploads: list[Uploaded]) -> dict[str, Disposition]:
        epoch = await self.world.tables.checkpoints.epoch(PIPELINE.name)
        ids = [u.occurrence.id for u in uploads]
        return dict(await self.world.tables.occurrences.dispositions(PIPELINE.name, ids, epoch=epoch))

    async def check_rest(self) -> None:
        """Everything that must hold once the deployment has come to rest."""
        await self.look()
        assert not self.world.dead_letters, f"messages died: {self.world.reasons[-3:]}"
        await self._hold_watermark()
        assert not await self._unsettled(list(self.uploads.values()))
        content = set(self.contents[-1].serials)
        missing = self.valid.keys() - content - self.discards
        assert not missing, f"lost: {sorted(missing)}"
        assert content == self.settled - (self.discards - content)
        await self._check_dispositions()
        await self._check_ledger()
        await self._check_history()

    async def _check_dispositions(self) -> None:
        found = await self._dispositions(list(self.uploads.values()))
        expected: dict[Kind, set[Disposition | None]] = {
            Kind.VALID: {Disposition.MERGED},
            Kind.BAD: {Disposition.QUARANTINED},
            Kind.SANDBOX: {Disposition.FILTERED},
            Kind.FOREIGN: {Disposition.IGNORED, None},  # a scan leaves foreign keys unmarked
        }
        for upload in self.uploads.values():
            assert found.get(upload.occurrence.id) in expected[upload.kind], upload
        bad = {u.occurrence.key for u in self.uploads.values() if u.kind is Kind.BAD}
        kept = {key for key, _, _ in self.world.quarantined()}
        assert kept >= bad
        assert kept == bad or self.replayed or self.missed, "quarantine keeps what was missing when it was first judged"

    async def _check_ledger(self) -> None:
        totals: Counter[str] = Counter()
        for run in await self.world.ledger.runs(limit=1_000):
            entries = await self.world.ledger.segments(run.run_id)
            table = conserve(run, entries)
            assert table.balanced, f"{run.run_id}: {table.problems}"
            assert not table.pending_segments, f"{run.run_id}: {table.pending_segments} segments pending"
            assert all(entry.step is Step.MERGED for entry in entries)
            assert run.state is RunState.SUCCEEDED, f"{run.run_id} is {run.state}: {run.reason}"
            for entry in entries:
                assert entry.settlement is not None
                totals["merged"] += entry.settlement.merged
                totals["quarantined"] += entry.settlement.quarantined
                totals["filtered"] += entry.settlement.filtered
        if self.world.losses:
            return
        kinds = Counter(upload.kind for upload in self.uploads.values())
        assert totals["merged"] == self.merged, "the ledger's rows are not the checkpoint's"
        assert totals["filtered"] == kinds[Kind.SANDBOX], "an occurrence was filtered twice"
        if not self.replayed:
            assert totals["quarantined"] == kinds[Kind.BAD], "an occurrence was quarantined twice"

    async def _check_history(self) -> None:
        head = await self.world.checkpoints.head(CHECKPOINT)
        history = await self.world.checkpoints.history(CHECKPOINT)
        assert head.version == len(self.contents) - 1
        assert [commit.version for commit in reversed(history)] == list(range(1, len(self.contents)))
        assert head.total_rows == len(self.contents[-1].serials)
        versions = self.world.objects.buckets[CHECKPOINTS].keys.get(PIPELINE.target.key, [])
        assert [c.object_version for c in reversed(history)] == [v.info.version_id for v in versions if v]
