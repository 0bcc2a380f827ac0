"""Heads, histories and epochs in memory."""

from dataclasses import dataclass, field, replace

from services.runtime.checkpoints import Commit, Head
from services.runtime.failures import ConflictError, StaleLeaseError
from tests.fakes.effects import Effects


@dataclass
class FakeCheckpointTable:
    """What the table holds."""

    heads: dict[str, Head] = field(default_factory=dict)
    commits: dict[tuple[str, int], Commit] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    begun: dict[str, set[str]] = field(default_factory=dict)


class FakeCheckpoints:
    """``Checkpoints`` over a table in memory."""

    def __init__(self, *, effects: Effects | None = None, table: FakeCheckpointTable | None = None) -> None:
        self.table = table or FakeCheckpointTable()
        self.effects = effects or Effects()

    def seen_by(self, effects: Effects) -> "FakeCheckpoints":
        """The same table as another process reaches it."""
        return FakeCheckpoints(effects=effects, table=self.table)

    async def head(self, checkpoint: str) -> Head:
        """See ``Checkpoints``."""
        return self._head(checkpoint)

    async def intend(self, head: Head, fencing_token: int) -> None:
        """See ``Checkpoints``."""

        def announce() -> None:
            seen = self._head(head.checkpoint)
            if seen.fencing_token > fencing_token:
                raise StaleLeaseError(f"token {fencing_token} is older than {seen.fencing_token}")
            if seen.version != head.version:
                raise ConflictError(f"the head is at version {seen.version}, not {head.version}")
            self.table.heads[head.checkpoint] = replace(seen, fencing_token=fencing_token)

        await self.effects.perform(f"intend {head.checkpoint}@{head.version + 1}", announce)

    async def record(self, checkpoint: str, commit: Commit, undone: tuple[int, int] | None = None) -> None:
        """See ``Checkpoints``; history first, then the head."""

        def enter() -> None:
            known = self.table.commits.setdefault((checkpoint, commit.version), commit)
            if known.commit_id != commit.commit_id:
                raise ConflictError(f"{checkpoint}@{commit.version} is commit {known.commit_id}")

        def move() -> None:
            head = self._head(checkpoint)
            ranges = set(head.undone) | ({undone} if undone else set())
            if head.version < commit.version:
                head = replace(
                    head,
                    version=commit.version,
                    etag=commit.etag,
                    object_version=commit.object_version,
                    manifest=commit.manifest,
                    total_rows=commit.total_rows,
                    max_cursor=commit.max_cursor,
                    key_range=commit.key_range,
                )
            self.table.heads[checkpoint] = replace(head, undone=tuple(sorted(ranges)))

        await self.effects.perform(f"record {checkpoint}@{commit.version} in history", enter)
        await self.effects.perform(f"record {checkpoint}@{commit.version} as head", move)

    async def history(self, checkpoint: str) -> list[Commit]:
        """See ``Checkpoints``."""
        commits = [commit for (name, _), commit in self.table.commits.items() if name == checkpoint]
        return sorted(commits, key=lambda commit: -commit.version)

    async def register(self, pipeline: str, checkpoint: str) -> None:
        """See ``Checkpoints``."""
        await self.effects.perform(
            f"register {checkpoint}", lambda: self.table.names.setdefault(pipeline, set()).add(checkpoint)
        )

    async def begin(self, pipeline: str, note: str) -> None:
        """See ``Checkpoints``."""
        await self.effects.perform(f"begin {note}", lambda: self.table.begun.setdefault(pipeline, set()).add(note))

    async def end(self, pipeline: str, note: str) -> None:
        """See ``Checkpoints``."""
        await self.effects.perform(f"end {note}", lambda: self.table.begun.setdefault(pipeline, set()).discard(note))

    async def begun(self, pipeline: str) -> list[str]:
        """See ``Checkpoints``."""
        return sorted(self.table.begun.get(pipeline, ()))

    async def epoch(self, pipeline: str) -> int:
        """See ``Checkpoints``."""
        return self.table.epochs.get(pipeline, 0)

    async def next_epoch(self, pipeline: str) -> int:
        """See ``Checkpoints``."""

        def step() -> int:
            self.table.epochs[pipeline] = self.table.epochs.get(pipeline, 0) + 1
            return self.table.epochs[pipeline]

        return await self.effects.perform(f"next epoch of {pipeline}", step)

    async def list(self, pipeline: str) -> list[Head]:
        """See ``Checkpoints``."""
        return [self._head(name) for name in sorted(self.table.names.get(pipeline, ()))]

    def _head(self, checkpoint: str) -> Head:
        return self.table.heads.get(checkpoint, Head(checkpoint))
