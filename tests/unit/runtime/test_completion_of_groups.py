"""Ending a group's run: with the last of its entities, once, and saying which of them failed."""

import json
from dataclasses import replace

import pytest

from contracts.runs import RunFailed, RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.completion import Completion
from services.runtime.failures import ConflictError, MalformedError
from services.runtime.ledger import Collection, Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import Span, StoredObject
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.watermarks import FakeWatermarks

ENTITIES = ("orders", "items")
MIRROR, LOG = "lake/logs/checkpoints.json", "lake/logs/run.log"
END = "2026-01-01T12:00:00.000000"


class World:
    """A group's run with two entities."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ledger = FakeLedger(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.objects = FakeObjects({"lake": True}, clock=self.clock)

    def completion(self, effects: Effects | None = None) -> Completion:
        """As one process sees it."""
        own = effects or Effects()
        mirrors = StateMirrors(self.objects.seen_by(own), self.clock)
        watermarks = FakeWatermarks(self.clock, own.network)
        watermarks.records = self.watermarks.records
        return Completion(self.ledger.seen_by(own), watermarks, self.publisher.seen_by(own), mirrors)

    async def start(self, group: str = "g", version: int = 0) -> None:
        """Open the group's run and start its entities' runs, of one segment with five rows each."""
        at = self.clock.now().isoformat()
        children = tuple(f"{group}.{entity}" for entity in ENTITIES)
        parent = Run(group, "shop", RunMode.FULL, RunState.RUNNING, at)
        await self.ledger.open_run(replace(parent, children=children, log=LOG))
        for entity, child in zip(ENTITIES, children, strict=True):
            run = Run(child, f"shop.{entity}", RunMode.FULL, RunState.PLANNING, at, parent=group)
            await self.ledger.open_run(run)
            await self.ledger.plan_segments(child, [("s", 0)])
            covered = Collection(start="1970-01-01 00:00:00", end=END, mirror=MIRROR, entity=entity)
            await self.ledger.start_run(
                child, planned=1, scan=ScanCounts(), frontier=END, watermark_version=version, collection=covered
            )

    async def merge(self, child: str) -> None:
        """Take an entity's segment through every step."""
        await self.ledger.segment_fetched(child, "s", 5, "raw/s")
        await self.ledger.segment_validated(child, "s", SegmentCounts(received=5, rows=5), "validated/s")
        await self.ledger.segment_merged(child, "s", Settlement(merged=5), location="validated/s", version=1)

    async def state(self, run_id: str = "g") -> Run:
        """A run as it is in the ledger."""
        run = await self.ledger.run(run_id)
        assert run is not None
        return run

    async def text(self, location: str) -> str:
        """What lies in the lake."""
        bucket, key = location.split("/", 1)
        return (await self.objects.get(bucket, key)).body.decode()


async def test_it_ends_with_its_last_entity() -> None:
    """Until then it is running; then it has succeeded, its mirror shows every entity and its log every step."""
    world = World()
    await world.start()
    world.clock.advance(5)
    await world.merge("g.orders")
    await world.completion().complete("g.orders", "shop.orders#orders")
    assert (await world.state()).state is RunState.RUNNING
    await world.merge("g.items")
    await world.completion().complete("g.items", "shop.items#items")
    assert (await world.state()).state is RunState.SUCCEEDED
    shown = json.loads(await world.text(MIRROR))
    assert {entity: (at["last_sync_timestamp"], at["record_count"]) for entity, at in shown.items()} == {
        "items": (END, 5),
        "orders": (END, 5),
    }
    lines = (await world.text(LOG)).splitlines()
    assert [line.partition("] ")[2] for line in lines] == [
        "Starting: Ingestion run g (full)",
        "Starting: Processing orders",
        "Starting: Processing items",
        "Processing orders: Extracted 5 records",
        "Completed: Processing orders",
        "Processing items: Extracted 5 records",
        "Completed: Processing items",
        "Completed: Ingestion run g: 2 of 2 entities, 10 records",
    ]
    assert all(line[0] == "[" and len(line.partition("]")[0]) == 20 for line in lines)


async def test_a_failed_entity_fails_it_and_nothing_else() -> None:
    """The others' watermarks move, its own does not, and the result says which it was and why."""
    world = World()
    await world.start()
    await world.completion().fail(await world.state("g.items"), "table shop.items\nis not there")
    assert (await world.state()).state is RunState.RUNNING
    await world.merge("g.orders")
    await world.completion().complete("g.orders", "shop.orders#orders")
    parent = await world.state()
    assert parent.state is RunState.FAILED
    assert parent.reason == "1 of 2 entities failed: shop.items: table shop.items\nis not there"
    assert set(world.watermarks.records) == {"shop.orders#orders"}
    assert set(json.loads(await world.text(MIRROR))) == {"orders"}
    assert "] Failed: Processing items: table shop.items is not there\n" in await world.text(LOG)
    facts = [fact for fact in world.publisher.announced() if fact.kind == RunFailed.kind()]
    assert {fact.run_id for fact in facts} == {"g", "g.items"}


@pytest.mark.parametrize("lives", range(1, 15))
async def test_whoever_dies_is_made_up_for_by_the_next(lives: int) -> None:
    """However many effects the first process had before it died."""
    world = World()
    await world.start()
    for entity in ENTITIES:
        child, watermark = f"g.{entity}", f"shop.{entity}#{entity}"
        await world.merge(child)
        with_death = Effects(KillSwitch(lives))
        try:
            await world.completion(with_death).complete(child, watermark)
        except KilledError:
            await world.completion().complete(child, watermark)
    assert (await world.state()).state is RunState.SUCCEEDED
    assert set(json.loads(await world.text(MIRROR))) == set(ENTITIES)
    assert {name: mark.cursor for name, mark in world.watermarks.records.items()} == {
        "shop.orders#orders": END,
        "shop.items#items": END,
    }


async def test_a_late_repetition_does_not_show_an_older_state() -> None:
    """The mirror follows the watermark, which a later run has moved by then."""
    world = World()
    await world.start()
    await world.merge("g.orders")
    await world.completion().complete("g.orders", "shop.orders#orders")
    await world.watermarks.advance(
        "shop.orders#orders", "2026-01-02T00:00:00.000000", expected_version=1, run_id="later.orders"
    )
    mirrors = StateMirrors(world.objects, world.clock)
    await mirrors.write_entity(MIRROR, "orders", "2026-01-02T00:00:00.000000", 7)
    await world.completion().complete("g.orders", "shop.orders#orders")
    assert json.loads(await world.text(MIRROR))["orders"]["record_count"] == 7


async def test_a_mirror_that_is_no_mirror_is_named() -> None:
    """Nobody's file is overwritten."""
    world = World()
    mirrors = StateMirrors(world.objects, world.clock)
    for body, text in ((b"{", "is not JSON"), (b"[]", "is not a JSON object")):
        await world.objects.put("lake", "x.json", body)
        with pytest.raises(MalformedError, match=rf"s3://lake/x\.json {text}.*remove it"):
            await mirrors.write_entity("lake/x.json", "orders", END, 1)


async def test_entities_that_end_together_both_show() -> None:
    """Whoever wrote the shared mirror on top of an older state writes it again."""

    class Overtaken(FakeObjects):
        """A store in which somebody else is faster, once or always."""

        times = 1

        async def get(
            self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
        ) -> StoredObject:
            """See ``ObjectStore``."""
            found = await super().get(bucket, key, version_id=version_id, span=span)
            if self.times:
                self.times -= 1
                await self.put("lake", "m.json", json.dumps({f"other{self.times}": {}}).encode())
            return found

    objects = Overtaken({"lake": True})
    await objects.put("lake", "m.json", b"{}")
    mirrors = StateMirrors(objects, ManualClock())
    await mirrors.write_entity("lake/m.json", "orders", END, 1)
    objects.times = 0
    assert set(json.loads((await objects.get("lake", "m.json")).body)) == {"other0", "orders"}
    objects.times = 1_000
    with pytest.raises(ConflictError, match="others wrote it 20 times"):
        await mirrors.write_entity("lake/m.json", "orders", END, 1)
