"""What the commits of one growing checkpoint cost: its requests, the merger's seconds, and the versions left behind.

A commit's other requests (segments, manifest, tables) are counted with the batch; a rewrite's GET and PUT are, too.
"""

from dataclasses import dataclass

from bench.costs import prices
from bench.costs.seconds import COPY_BYTES_S, CPU, ELSEWHERE, LATENCY_S, WAITS
from contracts.topology import TOPOLOGY
from services.merger.config import MergerSettings
from services.merger.core.append import COMPACTED_GROUPS, TARGET_ROWS
from services.runtime.multipart import IN_FLIGHT, cuts

BYTES_PER_ROW = 24
"""Measured: of a checkpoint of visit events."""
REWRITE_S_PER_ROW = 0.6e-6
"""Measured: a rewrite reads, merges and encodes the rows that are there (docs/append-merge.md)."""
APPEND_S = 0.006
"""Measured: an append of a thousand newer rows, into one million or ten (the same)."""
COMPACTION_S_PER_ROW = 0.6e-6
"""Measured: a compaction reads and encodes all rows, as a rewrite does."""
LONGEST_COMPACTION_S = 180.0
"""Not a price: what a compaction may take of the 300 s that a merger's function has."""
GB = 1e9
DAY_S = 86_400.0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint object of so many rows."""

    rows: float

    @property
    def size(self) -> float:
        """Bytes."""
        return self.rows * BYTES_PER_ROW

    @property
    def is_appended_to(self) -> bool:
        """Whether a merge copies its beginning, as the merger's default has it."""
        return self.size >= int(MergerSettings.model_fields["append_from_bytes"].default)

    @property
    def is_one_object(self) -> bool:
        """Whether one object can hold so much; else keys must split it."""
        return self.rows * COMPACTION_S_PER_ROW <= LONGEST_COMPACTION_S

    @property
    def writes(self) -> int:
        """PUT-class requests of a swap: begin, copies, the end's part and completion; or one PUT."""
        return 3 + self._copies if self.is_appended_to else 1

    def commit(self) -> dict[str, float]:
        """What a commit takes beyond a rewrite's two requests: units, seconds and round trips, by name."""
        if not self.is_appended_to:
            return {CPU: self.rows * REWRITE_S_PER_ROW}
        copying = self.size / min(self._copies, IN_FLIGHT) / COPY_BYTES_S
        return {"s3 writes and lists": self.writes - 1, WAITS + "s3": 3, CPU: APPEND_S, ELSEWHERE: copying}

    def compactions(self, new_rows: float) -> dict[str, float]:
        """What compacting takes of a day with so many new rows: whenever half of the groups are new ones."""
        times = new_rows / (COMPACTED_GROUPS * TARGET_ROWS) if self.is_appended_to else 0.0
        return {CPU: times * self.rows * COMPACTION_S_PER_ROW}

    def seconds(self) -> float:
        """How long a commit keeps the lease, beside what is counted with the batch."""
        took = self.commit()
        return took[CPU] + took.get(ELSEWHERE, 0.0) + took.get(WAITS + "s3", 0.0) * LATENCY_S["s3"]

    def versions_gb(self, commits: float, days: float | None = None) -> float:
        """GB of noncurrent versions in the end, of so many commits a day; ``days`` until they expire."""
        return commits * (expiry_days() if days is None else days) * self.size / GB

    @property
    def _copies(self) -> int:
        return len(cuts(0, int(self.size)))


def commits(batches: float, window_s: float, checkpoint: Checkpoint) -> float:
    """Commits of a day: one a batch at most, and no more than fit one after the other, each with a window before it."""
    return min(batches, DAY_S / (window_s + checkpoint.seconds()))


def expiry_days() -> int:
    """Days that the bucket of checkpoints keeps noncurrent versions."""
    [bucket] = [bucket for bucket in TOPOLOGY.buckets if bucket.name == "checkpoints"]
    if bucket.noncurrent_expire_days is None:
        raise ValueError("checkpoints: noncurrent versions never expire, so what they cost has no end")
    return bucket.noncurrent_expire_days


def versions_dollars(commits: float, checkpoint: Checkpoint) -> float:
    """Dollars a day of noncurrent versions, once the first of them expire."""
    return checkpoint.versions_gb(commits) * prices.S3_GB_MONTH / prices.DAYS
