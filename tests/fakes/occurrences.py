"""Occurrence marks in memory."""

from collections.abc import Mapping, Sequence

from contracts.segments import Disposition, Verdict
from services.runtime.occurrences import Mark
from tests.fakes.effects import Effects

BATCH = 25
"""Marks of rows that are written together; between two batches a process can die."""


class FakeOccurrences:
    """``Occurrences`` that keeps its marks by (pipeline, occurrence, epoch)."""

    def __init__(self, *, effects: Effects | None = None) -> None:
        self.marks: dict[tuple[str, str, int], Mark] = {}
        self.effects = effects or Effects()

    def seen_by(self, effects: Effects) -> "FakeOccurrences":
        """The same marks as another process reaches them."""
        other = FakeOccurrences(effects=effects)
        other.marks = self.marks
        return other

    async def find(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> dict[str, list[Mark]]:
        """See ``Occurrences``."""
        found = {
            occurrence: [
                self.marks[pipeline, occurrence, past]
                for past in range(epoch + 1)
                if (pipeline, occurrence, past) in self.marks
            ]
            for occurrence in occurrences
        }
        return {occurrence: marks for occurrence, marks in found.items() if marks}

    async def mark_rows(
        self, pipeline: str, occurrences: Sequence[str], *, epoch: int, checkpoint: str, version: int
    ) -> None:
        """See ``Occurrences``."""
        distinct = list(dict.fromkeys(occurrences))

        async def write(batch: Sequence[str]) -> None:
            marks = [
                Mark(occurrence, Disposition.MERGED, epoch, checkpoint=checkpoint, version=version)
                for occurrence in batch
            ]
            await self.effects.perform(
                f"mark {len(batch)} rows of {checkpoint}@{version}",
                lambda: self.marks.update({(pipeline, mark.occurrence, epoch): mark for mark in marks}),
            )

        for start in range(0, len(distinct), BATCH):
            await write(distinct[start : start + BATCH])

    async def claim(
        self, pipeline: str, verdict: Verdict, *, segment_id: str, epoch: int, replay: bool = False
    ) -> bool:
        """See ``Occurrences``."""

        def take() -> bool:
            key = (pipeline, verdict.occurrence, epoch)
            mark = self.marks.get(key)
            replayed = mark is not None and replay and mark.disposition is Disposition.QUARANTINED
            if mark is not None and mark.segment_id != segment_id and not replayed:
                return False
            self.marks[key] = Mark(verdict.occurrence, verdict.disposition, epoch, segment_id=segment_id)
            return True

        return await self.effects.perform(f"claim {verdict.occurrence} for {segment_id}", take)

    async def dispositions(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> Mapping[str, Disposition]:
        """See ``Occurrences``."""
        found = await self.find(pipeline, occurrences, epoch=epoch)
        return {occurrence: marks[-1].disposition for occurrence, marks in found.items()}
