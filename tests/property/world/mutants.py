"""Mechanisms bent one at a time: each is there for a reason, and the walks must notice its absence."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import BinaryIO
from uuid import uuid4

from contracts.checkpoints import CommitManifest
from contracts.segments import SegmentCounts, Settlement
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.runtime.checkpoints import Commit
from services.runtime.completion import Completion
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from services.runtime.occurrences import Occurrences
from services.runtime.watermarks import Watermark
from services.validator.adapters import ParquetSegments
from services.validator.core.segments import SegmentFile
from services.validator.ports import Ports as ValidatorPorts
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.watermarks import FakeWatermarks
from tests.property.event_log_world import QUARANTINE, STATE, VALIDATED
from tests.property.world.processes import Mutation


class _Marking(S3Manifests):
    def __init__(self, objects: FakeObjects, occurrences: Occurrences) -> None:
        super().__init__(objects, STATE)
        self._occurrences = occurrences

    async def write(self, manifest: CommitManifest) -> str:
        key = await super().write(manifest)
        at = manifest.destination
        await self._occurrences.mark_rows(
            manifest.scope,
            manifest.occurrences,
            epoch=manifest.epoch,
            checkpoint=f"{at.bucket}/{at.key}",
            version=manifest.version,
        )
        return key


class MarksBeforeTheCommit(Mutation):
    """Rows are marked when the commit is intended, not when it happened."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.objects, FakeObjects)
        return replace(ports, manifests=_Marking(ports.objects, ports.occurrences))


class _Unconditional(FakeObjects):
    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        del if_match
        return await super().put(bucket, key, body, metadata=metadata, content_type=content_type)


class PutWithoutIfMatch(Mutation):
    """The swap replaces whatever is there."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.objects, FakeObjects)
        objects = _Unconditional({}, effects=ports.objects.effects, clock=ports.clock)
        objects.buckets, objects.puts = ports.objects.buckets, ports.objects.puts
        return replace(ports, objects=objects, strategy=Rewrite(objects))


class _Late(FakeLedger):
    def __init__(self, ledger: FakeLedger, ports: MergerPorts) -> None:
        super().__init__(ports.clock, effects=ledger.effects, table=ledger.table)
        self._late: list[Callable[[], Awaitable[bool]]] = []

    async def segment_merged(
        self, run_id: str, segment_id: str, settlement: Settlement, *, location: str, version: int | None
    ) -> bool:
        if version is None:
            return await super().segment_merged(run_id, segment_id, settlement, location=location, version=version)
        merge = super().segment_merged
        self._late.append(partial(merge, run_id, segment_id, settlement, location=location, version=version))
        return True

    async def catch_up(self) -> None:
        """Write what was put off."""
        late, self._late = self._late, []
        for write in late:
            await write()


class _ThenLedger(FakeCheckpoints):
    def __init__(self, checkpoints: FakeCheckpoints, ledger: _Late) -> None:
        super().__init__(effects=checkpoints.effects, table=checkpoints.table)
        self._ledger = ledger

    async def record(self, checkpoint: str, commit: Commit, undone: tuple[int, int] | None = None) -> None:
        await super().record(checkpoint, commit, undone)
        await self._ledger.catch_up()


class LedgerAfterTheHead(Mutation):
    """Segments are settled in the ledger only when the head is recorded already."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.ledger, FakeLedger)
        assert isinstance(ports.checkpoints, FakeCheckpoints)
        ledger = _Late(ports.ledger, ports)
        return replace(ports, ledger=ledger, checkpoints=_ThenLedger(ports.checkpoints, ledger))


class _RandomNames(ParquetSegments):
    def __init__(self, objects: FakeObjects) -> None:
        super().__init__(objects, VALIDATED, QUARANTINE)
        self.names: dict[str, str] = {}

    async def write(self, segment: SegmentFile) -> str:
        name = self.names.setdefault(segment.descriptor.segment_id, uuid4().hex[:24])
        about = segment.descriptor.model_copy(update={"segment_id": name})
        return await super().write(replace(segment, descriptor=about))


class _Renaming(FakeLedger):
    def __init__(self, ledger: FakeLedger, ports: ValidatorPorts, names: dict[str, str]) -> None:
        super().__init__(ports.clock, effects=ledger.effects, table=ledger.table)
        self._names = names

    async def segment_validated(self, run_id: str, segment_id: str, counts: SegmentCounts, location: str) -> None:
        await super().segment_validated(run_id, self._names[segment_id], counts, location)


class RandomSegmentIds(Mutation):
    """A segment that events formed gets another name each time."""

    def validator(self, ports: ValidatorPorts) -> ValidatorPorts:
        """See ``Mutation``."""
        assert isinstance(ports.ledger, FakeLedger)
        assert isinstance(ports.segments, ParquetSegments)
        assert isinstance(ports.segments._objects, FakeObjects)
        segments = _RandomNames(ports.segments._objects)
        return replace(ports, segments=segments, ledger=_Renaming(ports.ledger, ports, segments.names))


class _OneEpoch(FakeCheckpoints):
    async def next_epoch(self, pipeline: str) -> int:
        return await self.epoch(pipeline)


class EpochStaysOnRestore(Mutation):
    """A restore undoes versions without starting a new epoch of marks."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.checkpoints, FakeCheckpoints)
        table = ports.checkpoints.table
        return replace(ports, checkpoints=_OneEpoch(effects=ports.checkpoints.effects, table=table))


class _FromAnywhere(FakeWatermarks):
    async def advance(
        self, name: str, cursor: str, *, expected_version: int, run_id: str, complete_until: str | None = None
    ) -> Watermark:
        current = await self.read(name)
        expected_version = 0 if current is None else current.version
        return await super().advance(
            name, cursor, expected_version=expected_version, run_id=run_id, complete_until=complete_until
        )


class WatermarkFromAnywhere(Mutation):
    """A run moves the watermark from where it stands now, not from where it stood when the run was planned."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.watermarks, FakeWatermarks)
        watermarks = _FromAnywhere(ports.clock, ports.watermarks._network)
        watermarks.records = ports.watermarks.records
        mirrors = StateMirrors(ports.objects, ports.clock)
        completion = Completion(ports.ledger, watermarks, ports.publisher, mirrors)
        return replace(ports, watermarks=watermarks, completion=completion)
