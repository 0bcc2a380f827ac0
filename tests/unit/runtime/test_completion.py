"""Ending a run, over the fakes: once, provably, and from wherever the last caller died."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.completion import Completion
from services.runtime.ledger import Collection, Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.watermarks import FakeWatermarks

W = "visit_events#events"
EARLIER = "2026-01-01T11:00:00+00:00"
NOON = "2026-01-01T12:00:00+00:00"
LATER = "2026-01-01T13:00:00+00:00"
MIRROR, PLACE = "state/mirror.json", f"{W}/forced"
COUNTS = SegmentCounts(received=5, rows=3, quarantined=2)
SETTLEMENT = Settlement(merged=3, quarantined=2)


@dataclass
class World:
    """The ports of a completion, which several processes may reach."""

    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.objects = FakeObjects({"state": False}, clock=self.clock)

    def completion(self, effects: Effects | None = None) -> Completion:
        """As one process sees it."""
        own = effects or Effects()
        watermarks = FakeWatermarks(self.clock, own.network)
        watermarks.records = self.watermarks.records
        return Completion(
            self.ledger.seen_by(own),
            watermarks,
            self.publisher.seen_by(own),
            StateMirrors(self.objects.seen_by(own), self.clock),
        )

    async def collect(self, run_id: str, *, frontier: str | None = NOON, version: int = 0, **covered: Any) -> None:
        """Plan and start a collecting run of one segment, and fetch it."""
        run = Run(run_id, "requests", RunMode.INCREMENTAL, RunState.PLANNING, self.clock.now().isoformat())
        assert await self.ledger.open_run(run)
        await self.ledger.plan_segments(run_id, [("s0", 0)])
        collection = Collection(**{"start": EARLIER, "end": NOON, "mirror": MIRROR} | covered)
        await self.ledger.start_run(
            run_id,
            planned=1,
            scan=ScanCounts(),
            frontier=frontier,
            watermark_version=version,
            collection=collection,
        )
        await self.ledger.segment_fetched(run_id, "s0", 5, "raw/s")

    def shown(self) -> str | None:
        """What the mirror says, or nothing where there is none."""
        stored = self.objects.buckets["state"].current("mirror.json")
        return None if stored is None else str(json.loads(stored.body)["last_run_timestamp"])

    async def begin(self, run_id: str, *, segments: int = 1, frontier: str | None = NOON, version: int = 0) -> None:
        """Plan and start a scan of five occurrences per segment."""
        run = Run(run_id, "visit_events", RunMode.SCAN, RunState.PLANNING, self.clock.now().isoformat())
        assert await self.ledger.open_run(run)
        await self.ledger.plan_segments(run_id, [(f"s{n}", 5) for n in range(segments)])
        counts = ScanCounts(listed=5 * segments, dispatched=5 * segments)
        await self.ledger.start_run(run_id, planned=segments, scan=counts, frontier=frontier, watermark_version=version)

    async def merge(self, run_id: str, number: int = 0, settlement: Settlement = SETTLEMENT) -> None:
        """Judge and settle one segment."""
        await self.ledger.segment_validated(run_id, f"s{number}", COUNTS, "validated/s")
        await self.ledger.segment_merged(run_id, f"s{number}", settlement, location="validated/s", version=1)

    async def state(self, run_id: str) -> RunState:
        """How a run stands."""
        run = await self.ledger.run(run_id)
        assert run
        return run.state

    def facts(self) -> list[tuple[str, str]]:
        """Kind and identity of each announcement."""
        return [(message.kind, message.dedup_id) for message in self.publisher.announced()]


@pytest.fixture
def world() -> World:
    """Everything empty."""
    return World()


async def test_a_run_is_not_over_before_its_last_segment(world: World) -> None:
    """While something is under way nothing is proven, moved or announced."""
    completion = world.completion()
    assert await completion.complete("r", W) is None
    await world.begin("r", segments=2)
    assert await completion.complete("r", W) is None
    await world.merge("r", 0)
    assert await completion.complete("r", W) is None
    assert (await world.state("r"), world.watermarks.records, world.facts()) == (RunState.RUNNING, {}, [])
    await world.merge("r", 1)
    assert await completion.complete("r", W) is RunState.SUCCEEDED
    assert (await world.state("r"), world.facts()) == (RunState.SUCCEEDED, [("RunCompleted", "r/completed")])
    assert world.watermarks.records[W].cursor == NOON
    assert world.publisher.announced()[0].body["records"] == 6


async def test_parts_that_were_cut_off_belong_to_the_run(world: World) -> None:
    """A segment cut by destination has more parts than were planned; all of them must be merged."""
    await world.begin("r", segments=1, frontier=None)
    await world.ledger.plan_segments("r", [("s0-part", 2)])
    rest, part = SegmentCounts(received=3, rows=3), SegmentCounts(received=2, rows=2)
    await world.ledger.segment_validated("r", "s0-part", part, "validated/part")
    await world.ledger.segment_validated("r", "s0", rest, "validated/s")
    await world.ledger.segment_merged("r", "s0-part", Settlement(merged=2), location="validated/part", version=1)
    assert await world.completion().complete("r", W) is None
    await world.ledger.segment_merged("r", "s0", Settlement(merged=3), location="validated/s", version=1)
    assert await world.completion().complete("r", W) is RunState.SUCCEEDED


async def test_an_empty_run_succeeds_with_no_records(world: World) -> None:
    """Nothing new is a success of its own, and it moves the watermark: everything older was found settled."""
    await world.begin("r", segments=0)
    assert await world.completion().complete("r", W) is RunState.SUCCEEDED
    assert world.publisher.announced()[0].body["records"] == 0
    assert world.watermarks.records[W].cursor == NOON


async def test_an_events_run_is_not_ended_by_its_segments(world: World) -> None:
    """It has no number of segments to reach: more events may come."""
    run = Run("r", "visit_events", RunMode.EVENTS, RunState.RUNNING, NOON)
    await world.ledger.open_run(run)
    await world.merge("r")
    assert await world.completion().complete("r", W) is None
    assert world.facts() == []


async def test_a_run_that_does_not_balance_fails_with_the_reason(world: World) -> None:
    """It never passes for a success: the watermark stays, and the failure says what is missing."""
    await world.begin("r")
    await world.merge("r", settlement=SETTLEMENT.model_copy(update={"merged": 2}))
    completion = world.completion()
    assert await completion.complete("r", W) is RunState.FAILED
    run = await world.ledger.run("r")
    assert run
    assert run.reason == "ledger does not balance: merge: 1 of 3 unaccounted for"
    assert world.watermarks.records == {}
    assert world.facts() == [("RunFailed", "r/failed")]
    assert await completion.complete("r", W) is RunState.FAILED
    assert [kind for kind, _ in world.facts()] == ["RunFailed"]


async def test_a_run_without_a_frontier_leaves_the_watermark(world: World) -> None:
    """A partial scan or a replay proves nothing about the whole source."""
    await world.begin("r", frontier=None)
    await world.merge("r")
    assert await world.completion().complete("r", W) is RunState.SUCCEEDED
    assert world.watermarks.records == {}


async def test_repeating_it_changes_nothing_but_announces_the_same_fact(world: World) -> None:
    """Whoever is handed a settled segment again may end the run again."""
    await world.begin("r")
    await world.merge("r")
    completion = world.completion()
    await completion.complete("r", W)
    first = (await world.ledger.run("r"), world.watermarks.records[W])
    world.clock.advance(60)
    assert await completion.complete("r", W) is RunState.SUCCEEDED
    assert (await world.ledger.run("r"), world.watermarks.records[W]) == first
    assert world.facts() == [("RunCompleted", "r/completed")] * 2


async def test_an_older_run_does_not_move_the_watermark_back(world: World) -> None:
    """Two runs overlap; the one that was planned first ends last."""
    await world.begin("old", frontier=NOON)
    await world.begin("young", frontier=LATER)
    for run_id in ("young", "old"):
        await world.merge(run_id)
        assert await world.completion().complete(run_id, W) is RunState.SUCCEEDED
    assert (world.watermarks.records[W].cursor, world.watermarks.records[W].run_id) == (LATER, "young")


async def test_an_ended_run_does_not_undo_a_reset(world: World) -> None:
    """An operator reset the watermark; a late redelivery ends the old run again, and the reset stands."""
    await world.begin("r")
    await world.merge("r")
    await world.completion().complete("r", W)
    await world.watermarks.reset(W, None, expected_version=1, run_id="operator")
    await world.completion().complete("r", W)
    assert world.watermarks.records[W].cursor is None


async def test_a_run_that_was_planned_before_a_reset_does_not_undo_it(world: World) -> None:
    """What it found settled may not be settled any more; the next run proves it anew."""
    await world.begin("before")
    await world.watermarks.reset(W, None, expected_version=0, run_id="operator")
    await world.merge("before")
    assert await world.completion().complete("before", W) is RunState.SUCCEEDED
    assert world.watermarks.records[W].cursor is None
    await world.begin("after", frontier=LATER, version=1)
    await world.merge("after")
    assert await world.completion().complete("after", W) is RunState.SUCCEEDED
    assert world.watermarks.records[W].cursor == LATER


async def _places() -> list[str]:
    """Every place at which the end of a run can be interrupted."""
    world, switch = World(), KillSwitch()
    await world.begin("r")
    await world.merge("r")
    await world.completion(Effects(switch)).complete("r", W)
    return switch.places


async def test_a_death_between_any_two_steps_is_made_good() -> None:
    """Ledger, watermark, announcement: wherever it was killed, the next call brings the run to the same end."""
    places = await _places()
    assert [place.removeprefix("before ") for place in places if place.startswith("before")] == [
        "finish run r as succeeded",
        "announce RunCompleted",
    ]
    for number in range(1, len(places) + 1):
        world = World()
        await world.begin("r")
        await world.merge("r")
        with pytest.raises(KilledError):
            await world.completion(Effects(KillSwitch(number))).complete("r", W)
        assert await world.completion().complete("r", W) is RunState.SUCCEEDED
        assert await world.state("r") is RunState.SUCCEEDED
        reached = world.watermarks.records[W]
        assert (reached.cursor, reached.version, reached.run_id) == (NOON, 1, "r")
        assert set(world.facts()) == {("RunCompleted", "r/completed")}
