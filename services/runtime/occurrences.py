"""Which occurrences are settled: the index that makes a redelivered or rescanned object count once.

A row's mark is written only after the commit that holds it, from that commit's manifest, so it can be rebuilt and
is never wrong. Marks carry an *epoch* that grows with every restore: a writer that slept through a restore still
writes its own epoch's marks and cannot overwrite younger ones. A mark inside a restored-away range of versions
does not count (see services/runtime/checkpoints.py).

Occurrences that yield no row are settled by a conditional claim for one segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.segments import Disposition, Verdict


@dataclass(frozen=True, slots=True)
class Mark:
    """What an occurrence was settled as. Rows name their commit, all others the segment that claimed them."""

    occurrence: str
    disposition: Disposition
    epoch: int
    checkpoint: str = ""
    version: int = 0
    segment_id: str = ""


class Occurrences(Protocol):
    """Marks of one deployment; ``pipeline`` keeps two pipelines over one object apart."""

    async def find(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> dict[str, list[Mark]]:
        """Every mark of these occurrences in epochs 0 to ``epoch`` (consistent read); unmarked ones are absent."""
        ...

    async def mark_rows(
        self, pipeline: str, occurrences: Sequence[str], *, epoch: int, checkpoint: str, version: int
    ) -> None:
        """Record that a committed version holds these rows. Safe to repeat, from any process."""
        ...

    async def claim(
        self, pipeline: str, verdict: Verdict, *, segment_id: str, epoch: int, replay: bool = False
    ) -> bool:
        """Settle an occurrence without a row for this segment; True if the claim is (already) this segment's.

        False if it is settled otherwise. A replay may take over the claim of a quarantined occurrence.
        """
        ...

    async def dispositions(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> Mapping[str, Disposition]:
        """The latest epoch's disposition of each, for people; unmarked ones are absent."""
        ...
