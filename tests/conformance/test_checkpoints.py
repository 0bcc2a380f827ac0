"""What every Checkpoints does, held against the fake and against DynamoDB."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from services.runtime.aws.checkpoints import DynamoCheckpoints
from services.runtime.aws.clients import Clients
from services.runtime.checkpoints import Checkpoints, Commit, Head
from services.runtime.failures import ConflictError, StaleLeaseError, UnreachableError
from tests.emulator_support import Stack
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

NAME = "bucket/checkpoints/events.parquet"


def commit(version: int, *, commit_id: str | None = None, cursor: str | None = "2026-01-01T00:00:00Z") -> Commit:
    """The commit of a version; what identifies its content follows from the version."""
    return Commit(
        version=version,
        kind="merge",
        commit_id=commit_id or f"commit-{version}",
        manifest=f"manifests/{version}",
        etag=f"etag-{version}",
        object_version=f"object-{version}" if version % 2 else None,
        total_rows=100 * version,
        new_rows=100,
        committed_at=f"2026-01-01T00:00:{version:02}+00:00",
        max_cursor=cursor,
        key_range=(f"a{version}", f"z{version}") if cursor else None,
    )


def head_at(version: int, *, token: int = 0, undone: tuple[tuple[int, int], ...] = ()) -> Head:
    """The head after ``commit(version)``."""
    made = commit(version)
    return Head(
        checkpoint=NAME,
        version=version,
        fencing_token=token,
        etag=made.etag,
        object_version=made.object_version,
        manifest=made.manifest,
        total_rows=made.total_rows,
        max_cursor=made.max_cursor,
        key_range=made.key_range,
        undone=undone,
    )


@dataclass(frozen=True)
class Bench:
    """A port, and the same port over a bad network."""

    checkpoints: Checkpoints
    faulty: Checkpoints
    network: ScriptedNetwork


class CheckpointsConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_what_was_never_committed_is_at_version_0(self, bench: Bench) -> None:
        """An unknown checkpoint has an empty head and no history."""
        assert await bench.checkpoints.head(NAME) == Head(NAME)
        assert await bench.checkpoints.history(NAME) == []

    async def test_an_intent_is_not_a_commit(self, bench: Bench) -> None:
        """Announcing changes only the fencing token that was seen."""
        await bench.checkpoints.intend(Head(NAME), 7)
        assert await bench.checkpoints.head(NAME) == Head(NAME, fencing_token=7)
        assert await bench.checkpoints.history(NAME) == []

    async def test_recording_makes_a_head_and_keeps_the_token(self, bench: Bench) -> None:
        """A recorded commit is the head, with every field, and stays in history."""
        await bench.checkpoints.intend(Head(NAME), 3)
        await bench.checkpoints.record(NAME, commit(1))
        assert await bench.checkpoints.head(NAME) == head_at(1, token=3)
        await bench.checkpoints.intend(head_at(1, token=3), 3)
        await bench.checkpoints.record(NAME, commit(2))
        assert await bench.checkpoints.head(NAME) == head_at(2, token=3)
        assert await bench.checkpoints.history(NAME) == [commit(2), commit(1)]

    async def test_what_a_later_commit_lacks_does_not_stay(self, bench: Bench) -> None:
        """A head without cursor and object version forgets those of the head before it."""
        await bench.checkpoints.record(NAME, commit(1))
        await bench.checkpoints.record(NAME, commit(2, cursor=None))
        head = await bench.checkpoints.head(NAME)
        assert (head.max_cursor, head.object_version, head.key_range) == (None, None, None)
        assert (await bench.checkpoints.history(NAME))[0] == commit(2, cursor=None)

    async def test_what_was_begun_is_noted_until_it_has_ended(self, bench: Bench) -> None:
        """Notes belong to a pipeline, are the same when written twice, and leave nothing behind."""
        assert await bench.checkpoints.begun("p") == []
        await bench.checkpoints.end("p", NAME)
        for name in ("b/2", "b/1", "b/2"):
            await bench.checkpoints.begin("p", name)
        assert await bench.checkpoints.begun("p") == ["b/1", "b/2"]
        assert await bench.checkpoints.begun("q") == []
        for name in ("b/1", "b/1", "b/2"):
            await bench.checkpoints.end("p", name)
        assert await bench.checkpoints.begun("p") == []
        assert await bench.checkpoints.epoch("p") == 0

    async def test_an_older_token_is_stale(self, bench: Bench) -> None:
        """Once a younger token was seen, an older one may not announce; the same and a younger one may."""
        await bench.checkpoints.intend(Head(NAME), 5)
        with pytest.raises(StaleLeaseError):
            await bench.checkpoints.intend(Head(NAME), 4)
        await bench.checkpoints.intend(Head(NAME), 5)
        await bench.checkpoints.intend(Head(NAME), 6)
        assert (await bench.checkpoints.head(NAME)).fencing_token == 6

    async def test_an_older_token_is_stale_whatever_the_version(self, bench: Bench) -> None:
        """A sleeper that finds both a younger token and another version is told to stop, not to start over."""
        await bench.checkpoints.intend(Head(NAME), 5)
        await bench.checkpoints.record(NAME, commit(1))
        with pytest.raises(StaleLeaseError):
            await bench.checkpoints.intend(Head(NAME), 4)

    async def test_a_head_that_moved_is_a_conflict(self, bench: Bench) -> None:
        """An intent on top of an earlier or a later version than the head's is refused and leaves no token."""
        await bench.checkpoints.record(NAME, commit(1))
        for version in (0, 2):
            with pytest.raises(ConflictError) as refused:
                await bench.checkpoints.intend(Head(NAME, version=version), 9)
            assert not isinstance(refused.value, StaleLeaseError)
        assert (await bench.checkpoints.head(NAME)).fencing_token == 0

    async def test_recording_twice_is_recording_once(self, bench: Bench) -> None:
        """Any merger may complete a commit, again and again, with the same result."""
        for _ in range(3):
            await bench.checkpoints.record(NAME, commit(1), undone=(1, 1))
        assert await bench.checkpoints.head(NAME) == head_at(1, undone=((1, 1),))
        assert await bench.checkpoints.history(NAME) == [commit(1)]

    async def test_a_late_record_fills_history_and_leaves_the_head(self, bench: Bench) -> None:
        """A merger that slept after its commit records it late: history gains it, the head never goes back."""
        await bench.checkpoints.record(NAME, commit(2))
        await bench.checkpoints.record(NAME, commit(1))
        assert await bench.checkpoints.head(NAME) == head_at(2)
        assert await bench.checkpoints.history(NAME) == [commit(2), commit(1)]

    async def test_a_late_restore_is_not_forgotten(self, bench: Bench) -> None:
        """What a restore undid counts as undone though the head was past it when it was recorded."""
        await bench.checkpoints.record(NAME, commit(4))
        await bench.checkpoints.record(NAME, commit(3), undone=(1, 2))
        head = await bench.checkpoints.head(NAME)
        assert (head.version, head.undone) == (4, ((1, 2),))
        assert [head.counts(version) for version in (1, 2, 3, 4, 5)] == [False, False, True, True, False]

    async def test_undone_ranges_add_up(self, bench: Bench) -> None:
        """Each restore adds its range; ranges are in order."""
        await bench.checkpoints.record(NAME, commit(12), undone=(10, 11))
        await bench.checkpoints.record(NAME, commit(13), undone=(2, 12))
        await bench.checkpoints.record(NAME, commit(14))
        assert (await bench.checkpoints.head(NAME)).undone == ((2, 12), (10, 11))

    async def test_a_version_is_one_commit(self, bench: Bench) -> None:
        """History refuses a second commit under a version it knows, and the head does not change."""
        await bench.checkpoints.record(NAME, commit(1))
        with pytest.raises(ConflictError):
            await bench.checkpoints.record(NAME, commit(1, commit_id="another"))
        assert await bench.checkpoints.history(NAME) == [commit(1)]

    async def test_twenty_recorders_agree(self, bench: Bench) -> None:
        """However recording interleaves, the head ends at the last version and history is complete."""
        await asyncio.gather(*(bench.checkpoints.record(NAME, commit(version)) for version in range(1, 21)))
        assert await bench.checkpoints.head(NAME) == head_at(20)
        assert [entry.version for entry in await bench.checkpoints.history(NAME)] == list(range(20, 0, -1))

    async def test_checkpoints_do_not_mix(self, bench: Bench) -> None:
        """Heads and histories are kept by name, also where one name is the start of another."""
        await bench.checkpoints.record(NAME, commit(1))
        assert await bench.checkpoints.head(f"{NAME}x") == Head(f"{NAME}x")
        assert await bench.checkpoints.history(f"{NAME}x") == []

    async def test_a_pipeline_knows_its_checkpoints(self, bench: Bench) -> None:
        """Registered checkpoints are listed by name with their heads, before and after their first commit."""
        assert await bench.checkpoints.list("visits") == []
        for name in (NAME, "bucket/a", NAME):
            await bench.checkpoints.register("visits", name)
        await bench.checkpoints.register("others", "bucket/b")
        await bench.checkpoints.record(NAME, commit(1))
        assert await bench.checkpoints.list("visits") == [Head("bucket/a"), head_at(1)]

    async def test_a_pipeline_may_have_many_checkpoints(self, bench: Bench) -> None:
        """More heads than one BatchGetItem holds (100) are all listed."""
        names = [f"bucket/{number:03}" for number in range(120)]
        await asyncio.gather(*(bench.checkpoints.register("visits", name) for name in names))
        assert [head.checkpoint for head in await bench.checkpoints.list("visits")] == names

    async def test_epochs_only_grow(self, bench: Bench) -> None:
        """An epoch starts at 0 and each next one is one more, by pipeline; registering does not touch it."""
        assert await bench.checkpoints.epoch("visits") == 0
        assert await bench.checkpoints.next_epoch("visits") == 1
        await bench.checkpoints.register("visits", NAME)
        assert await bench.checkpoints.next_epoch("visits") == 2
        assert await bench.checkpoints.epoch("visits") == 2
        assert await bench.checkpoints.epoch("others") == 0
        assert [head.checkpoint for head in await bench.checkpoints.list("visits")] == [NAME]

    async def test_no_two_callers_start_the_same_epoch(self, bench: Bench) -> None:
        """Twenty concurrent callers get twenty epochs."""
        epochs = await asyncio.gather(*(bench.checkpoints.next_epoch("visits") for _ in range(20)))
        assert sorted(epochs) == list(range(1, 21))

    @pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
    @pytest.mark.parametrize("exchange", [0, 1])
    async def test_recording_goes_on_after_an_unknown_outcome(self, bench: Bench, fate: Fate, exchange: int) -> None:
        """Whichever of its writes was cut off, and on whichever way, repeating the record completes it."""
        bench.network.next(*[Fate.DELIVERED] * exchange, fate)
        with pytest.raises(UnreachableError):
            await bench.faulty.record(NAME, commit(1), undone=(1, 1))
        await bench.faulty.record(NAME, commit(1), undone=(1, 1))
        assert await bench.checkpoints.head(NAME) == head_at(1, undone=((1, 1),))
        assert await bench.checkpoints.history(NAME) == [commit(1)]

    async def test_writes_that_were_sent_twice_are_no_conflict(self, bench: Bench) -> None:
        """The SDK repeats a write whose first try won: intent and record succeed all the same."""
        bench.network.next(Fate.REPEATED)
        await bench.faulty.intend(Head(NAME), 1)
        bench.network.next(Fate.REPEATED, Fate.REPEATED)
        await bench.faulty.record(NAME, commit(1), undone=(1, 1))
        assert await bench.checkpoints.head(NAME) == head_at(1, token=1, undone=((1, 1),))


class TestFakeCheckpoints(CheckpointsConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """One table, reached in two ways."""
        checkpoints, network = FakeCheckpoints(), ScriptedNetwork()
        return Bench(checkpoints, checkpoints.seen_by(Effects(network=network)), network)


class TestDynamoCheckpoints(CheckpointsConformance):
    """DynamoDB through the emulator keeps the contract."""

    @pytest.fixture
    def bench(self, stack: Stack, clients: Clients) -> Bench:
        """The stack's own table."""
        network, table = ScriptedNetwork(), stack.resource("checkpoints")
        networked = cast("DynamoDBClient", NetworkedClient(clients.dynamodb, network))
        return Bench(DynamoCheckpoints(clients.dynamodb, table), DynamoCheckpoints(networked, table), network)
