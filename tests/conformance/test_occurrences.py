"""What every Occurrences does, held against the fake and against DynamoDB."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from contracts.segments import Disposition, Verdict
from services.runtime.aws.clients import Clients
from services.runtime.aws.occurrences import DynamoOccurrences
from services.runtime.failures import UnreachableError
from services.runtime.occurrences import Mark, Occurrences
from tests.emulator_support import Stack
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.occurrences import FakeOccurrences

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

PIPELINE = "visits"
CHECKPOINT = "bucket/events.parquet"
QUARANTINED = Verdict(occurrence="o1", disposition=Disposition.QUARANTINED, reason="not JSON")
FILTERED = Verdict(occurrence="o1", disposition=Disposition.FILTERED)


def row(occurrence: str, *, epoch: int = 0, version: int = 1) -> Mark:
    """The mark of a row."""
    return Mark(occurrence, Disposition.MERGED, epoch, checkpoint=CHECKPOINT, version=version)


@dataclass(frozen=True)
class Bench:
    """A port, and the same port over a bad network."""

    occurrences: Occurrences
    faulty: Occurrences
    network: ScriptedNetwork

    async def mark(self, *occurrences: str, epoch: int = 0, version: int = 1) -> None:
        """Mark rows of a version."""
        await self.occurrences.mark_rows(PIPELINE, occurrences, epoch=epoch, checkpoint=CHECKPOINT, version=version)

    async def find(self, *occurrences: str, epoch: int = 0) -> dict[str, list[Mark]]:
        """Find the marks of some occurrences."""
        return await self.occurrences.find(PIPELINE, occurrences, epoch=epoch)

    async def claim(self, verdict: Verdict, segment_id: str, *, epoch: int = 0, replay: bool = False) -> bool:
        """Claim an occurrence."""
        return await self.occurrences.claim(PIPELINE, verdict, segment_id=segment_id, epoch=epoch, replay=replay)


class OccurrencesConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_what_is_unmarked_is_absent(self, bench: Bench) -> None:
        """Unmarked occurrences, and no occurrences at all, find nothing."""
        assert await bench.find("o1", "o2", epoch=3) == {}
        assert await bench.find() == {}
        assert await bench.occurrences.dispositions(PIPELINE, ["o1"], epoch=0) == {}

    async def test_rows_name_their_commit(self, bench: Bench) -> None:
        """Marked rows are found with checkpoint, version and epoch; the others beside them are not."""
        await bench.mark("o1", "o2", version=7)
        assert await bench.find("o1", "o2", "o3") == {"o1": [row("o1", version=7)], "o2": [row("o2", version=7)]}

    async def test_marking_no_rows_is_allowed(self, bench: Bench) -> None:
        """A commit without rows has nothing to mark."""
        await bench.mark()
        assert await bench.find("o1") == {}

    async def test_marks_are_kept_by_epoch(self, bench: Bench) -> None:
        """A find sees epochs up to its own, in order; a writer of an old epoch leaves younger marks alone."""
        await bench.mark("o1", epoch=2, version=9)
        await bench.mark("o1", epoch=0, version=4)
        assert await bench.find("o1", epoch=0) == {"o1": [row("o1", epoch=0, version=4)]}
        assert await bench.find("o1", epoch=1) == {"o1": [row("o1", epoch=0, version=4)]}
        assert await bench.find("o1", epoch=2) == {"o1": [row("o1", epoch=0, version=4), row("o1", epoch=2, version=9)]}

    async def test_marking_again_changes_nothing(self, bench: Bench) -> None:
        """Marks are rebuilt from a manifest as often as needed."""
        for _ in range(3):
            await bench.mark("o1", "o1", "o2")
        assert await bench.find("o1", "o2") == {"o1": [row("o1")], "o2": [row("o2")]}

    async def test_pipelines_are_apart(self, bench: Bench) -> None:
        """Two pipelines over one object settle it each for itself."""
        await bench.mark("o1")
        assert await bench.occurrences.find("others", ["o1"], epoch=0) == {}
        assert await bench.occurrences.claim("others", QUARANTINED, segment_id="s1", epoch=0)
        assert await bench.find("o1") == {"o1": [row("o1")]}

    async def test_many_at_once(self, bench: Bench) -> None:
        """250 ids, each asked for twice, over three epochs: more than one request holds, and every mark is found."""
        ids = [f"o{number}" for number in range(250)]
        await bench.mark(*ids)
        await bench.mark(*ids[::2], epoch=2, version=2)
        found = await bench.find(*ids, "unmarked", *ids, epoch=2)
        assert found == {
            occurrence: [row(occurrence)] + ([row(occurrence, epoch=2, version=2)] if number % 2 == 0 else [])
            for number, occurrence in enumerate(ids)
        }

    async def test_a_claim_is_granted_to_one_segment(self, bench: Bench) -> None:
        """The first segment has it, may repeat its claim, and no other segment gets it."""
        assert await bench.claim(QUARANTINED, "s1")
        assert await bench.claim(QUARANTINED, "s1")
        assert not await bench.claim(QUARANTINED, "s2")
        assert await bench.find("o1") == {"o1": [Mark("o1", Disposition.QUARANTINED, 0, segment_id="s1")]}

    async def test_one_of_twenty_claims_is_granted(self, bench: Bench) -> None:
        """Of twenty segments that claim at once one is granted the occurrence."""
        granted = await asyncio.gather(*(bench.claim(FILTERED, f"s{number}") for number in range(20)))
        (winner,) = [number for number, won in enumerate(granted) if won]
        assert (await bench.find("o1"))["o1"][0].segment_id == f"s{winner}"

    @pytest.mark.parametrize("replay", [False, True])
    async def test_a_row_is_never_claimed(self, bench: Bench, *, replay: bool) -> None:
        """What was merged stays merged, for a replay too."""
        await bench.mark("o1")
        assert not await bench.claim(QUARANTINED, "s1", replay=replay)
        assert await bench.find("o1") == {"o1": [row("o1")]}

    async def test_a_replay_takes_over_what_was_quarantined(self, bench: Bench) -> None:
        """A replay settles a quarantined occurrence anew; the segment that had it does not get it back."""
        await bench.claim(QUARANTINED, "s1")
        assert await bench.claim(FILTERED, "replay", replay=True)
        assert await bench.claim(FILTERED, "replay", replay=True)
        assert not await bench.claim(QUARANTINED, "s1")
        assert await bench.find("o1") == {"o1": [Mark("o1", Disposition.FILTERED, 0, segment_id="replay")]}

    @pytest.mark.parametrize("disposition", [Disposition.FILTERED, Disposition.IGNORED])
    async def test_a_replay_takes_over_nothing_else(self, bench: Bench, disposition: Disposition) -> None:
        """Only a quarantined occurrence can be replayed."""
        assert await bench.claim(Verdict(occurrence="o1", disposition=disposition), "s1")
        assert not await bench.claim(QUARANTINED, "replay", replay=True)

    async def test_a_replayed_row_replaces_its_claim(self, bench: Bench) -> None:
        """A quarantined occurrence that a replay merges is a row from then on."""
        await bench.claim(QUARANTINED, "s1")
        await bench.mark("o1", version=5)
        assert await bench.find("o1") == {"o1": [row("o1", version=5)]}
        assert not await bench.claim(QUARANTINED, "s1")

    async def test_a_claim_looks_at_its_own_epoch(self, bench: Bench) -> None:
        """After a restore an occurrence is free again; the older epoch's mark stays."""
        await bench.claim(QUARANTINED, "s1")
        assert await bench.claim(FILTERED, "s2", epoch=1)
        assert [mark.segment_id for mark in (await bench.find("o1", epoch=1))["o1"]] == ["s1", "s2"]

    async def test_people_see_the_latest_epoch(self, bench: Bench) -> None:
        """The disposition shown is that of the latest epoch up to the one asked for."""
        await bench.claim(QUARANTINED, "s1")
        await bench.mark("o1", "o2", epoch=2)
        dispositions = bench.occurrences.dispositions
        assert await dispositions(PIPELINE, ["o1", "o2", "o3"], epoch=2) == dict.fromkeys(
            ("o1", "o2"), Disposition.MERGED
        )
        assert await dispositions(PIPELINE, ["o1", "o2"], epoch=1) == {"o1": Disposition.QUARANTINED}

    @pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
    async def test_a_claim_can_be_repeated_after_an_unknown_outcome(self, bench: Bench, fate: Fate) -> None:
        """Whether or not the write happened, the same segment's next claim is granted."""
        bench.network.next(fate)
        with pytest.raises(UnreachableError):
            await bench.faulty.claim(PIPELINE, QUARANTINED, segment_id="s1", epoch=0)
        assert await bench.faulty.claim(PIPELINE, QUARANTINED, segment_id="s1", epoch=0)

    async def test_a_claim_that_was_sent_twice_is_granted(self, bench: Bench) -> None:
        """The SDK repeats a claim whose first try won: it is granted, in a replay too."""
        bench.network.next(Fate.REPEATED, Fate.REPEATED)
        assert await bench.faulty.claim(PIPELINE, QUARANTINED, segment_id="s1", epoch=0)
        assert await bench.faulty.claim(PIPELINE, FILTERED, segment_id="s2", epoch=0, replay=True)

    @pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
    async def test_marking_can_be_repeated_after_an_unknown_outcome(self, bench: Bench, fate: Fate) -> None:
        """When one of several requests is cut off, marking all rows again completes them."""
        ids = [f"o{number}" for number in range(60)]
        bench.network.next(Fate.DELIVERED, fate)
        with pytest.raises(UnreachableError):
            await bench.faulty.mark_rows(PIPELINE, ids, epoch=0, checkpoint=CHECKPOINT, version=1)
        await bench.mark(*ids)
        assert await bench.find(*ids) == {occurrence: [row(occurrence)] for occurrence in ids}


class TestFakeOccurrences(OccurrencesConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """One index, reached in two ways."""
        occurrences, network = FakeOccurrences(), ScriptedNetwork()
        return Bench(occurrences, occurrences.seen_by(Effects(network=network)), network)


class BusyDynamo:
    """A client whose table is busy: of every batch it does the first half and puts the rest off, ``times`` times."""

    def __init__(self, client: "DynamoDBClient", times: int) -> None:
        self._client = client
        self.put_off = 0
        self._times = times

    async def batch_get_item(self, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the client's own name
        """Read the first half."""
        ((table, asked),) = RequestItems.items()
        now, later = self._split(asked["Keys"])
        answer = await self._client.batch_get_item(RequestItems={table: asked | {"Keys": now}})
        return {**answer, "UnprocessedKeys": {table: asked | {"Keys": later}} if later else {}}

    async def batch_write_item(self, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the client's own name
        """Write the first half."""
        ((table, asked),) = RequestItems.items()
        now, later = self._split(asked)
        answer = await self._client.batch_write_item(RequestItems={table: now})
        return {**answer, "UnprocessedItems": {table: later} if later else {}}

    def _split(self, asked: list[Any]) -> tuple[list[Any], list[Any]]:
        if self.put_off >= self._times:
            return asked, []
        self.put_off += 1
        half = (len(asked) + 1) // 2
        return asked[:half], asked[half:]


class TestDynamoOccurrences(OccurrencesConformance):
    """DynamoDB through the emulator keeps the contract."""

    @pytest.fixture
    def bench(self, stack: Stack, clients: Clients) -> Bench:
        """The stack's own table."""
        network, table = ScriptedNetwork(), stack.resource("occurrences")
        networked = cast("DynamoDBClient", NetworkedClient(clients.dynamodb, network))
        return Bench(DynamoOccurrences(clients.dynamodb, table), DynamoOccurrences(networked, table), network)

    async def test_what_dynamodb_puts_off_is_asked_for_again(self, stack: Stack, clients: Clients) -> None:
        """Unprocessed items and keys of a busy table are retried until every one is written and read."""
        client = BusyDynamo(clients.dynamodb, times=6)
        busy = DynamoOccurrences(cast("DynamoDBClient", client), stack.resource("occurrences"))
        ids = [f"o{number}" for number in range(130)]
        await busy.mark_rows(PIPELINE, ids, epoch=0, checkpoint=CHECKPOINT, version=1)
        assert client.put_off == 6
        client.put_off = 0
        assert await busy.find(PIPELINE, ids, epoch=0) == {occurrence: [row(occurrence)] for occurrence in ids}
        assert client.put_off > 1
