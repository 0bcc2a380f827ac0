"""The head and the history of each checkpoint, beside the object itself.

The object in S3 is the truth: a commit *is* the compare-and-swap on it, and its metadata names the commit and its
manifest. The head is an index that can lag by one commit when a merger dies right after its put; whoever merges
next completes it from the manifest first (services/merger). ``intent`` adds the fence: it is conditional on the
head's version and on no younger fencing token having been seen.
"""

from dataclasses import dataclass, field
from typing import Protocol

STAMP_VERSION = "tidegate-version"
"""Object metadata of a checkpoint: the version it holds."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the table knows of a checkpoint; version 0 is "never committed"."""

    checkpoint: str
    version: int = 0
    fencing_token: int = 0
    etag: str | None = None
    object_version: str | None = None
    manifest: str | None = None
    total_rows: int = 0
    max_cursor: str | None = None
    key_range: tuple[str, str] | None = None
    """Least and greatest unique key of its rows; None where rows have no key of their own."""
    undone: tuple[tuple[int, int], ...] = field(default=())

    def counts(self, version: int) -> bool:
        """Whether rows of that version are still in the checkpoint's line of history."""
        return version <= self.version and not any(low <= version <= high for low, high in self.undone)


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of the history: where the content of a version lies, and what the commit did."""

    version: int
    kind: str
    commit_id: str
    manifest: str
    etag: str
    object_version: str | None
    total_rows: int
    new_rows: int
    committed_at: str
    max_cursor: str | None = None
    key_range: tuple[str, str] | None = None


class Checkpoints(Protocol):
    """Heads, histories and epochs. A checkpoint is named ``{bucket}/{key}``."""

    async def head(self, checkpoint: str) -> Head:
        """The head (consistent read); version 0 where there is none."""
        ...

    async def intend(self, head: Head, fencing_token: int) -> None:
        """Announce a commit on top of ``head``.

        Raises:
            StaleLeaseError: a younger fencing token was seen.
            ConflictError: the head has moved on.
        """
        ...

    async def record(self, checkpoint: str, commit: Commit, undone: tuple[int, int] | None = None) -> None:
        """Put a commit that did happen into history and make it the head, unless the head is there already."""
        ...

    async def history(self, checkpoint: str) -> list[Commit]:
        """Every commit, newest first."""
        ...

    async def begun(self, pipeline: str) -> list[str]:
        """The notes of commits that were begun and not ended, in order (consistent read)."""
        ...

    async def list(self, pipeline: str) -> list[Head]:
        """The heads of a pipeline's checkpoints, by name."""
        ...

    async def register(self, pipeline: str, checkpoint: str) -> None:
        """Make a checkpoint known as one of this pipeline's; safe to repeat."""
        ...

    async def begin(self, pipeline: str, note: str) -> None:
        """Note that a commit is about to be tried; the note says which; safe to repeat."""
        ...

    async def end(self, pipeline: str, note: str) -> None:
        """Take the note back: whatever was tried is recorded, or can never happen any more; safe to repeat."""
        ...

    async def epoch(self, pipeline: str) -> int:
        """The pipeline's current epoch of occurrence marks."""
        ...

    async def next_epoch(self, pipeline: str) -> int:
        """Start a new epoch and return it (before a restore commits; starting one too many is harmless)."""
        ...
