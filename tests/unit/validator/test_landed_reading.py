"""Reading landing files: how much at a time, and of which version."""

import pytest

from services.runtime.landing import TAIL_BYTES
from services.runtime.objects import Span, StoredObject
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.objects import FakeObjects
from tests.unit.validator.landed_rows import NOISE, NOISE_FIELDS, landing_file, noise, order
from tests.unit.validator.landed_world import World, command

ROWS = [order(1), order(2)]


class Replacing(FakeObjects):
    """Objects that are replaced once their tail was read; ``reads`` are the spans that were asked for."""

    def __init__(self, *, versioned: bool, clock: ManualClock) -> None:
        super().__init__({"raw": versioned, "validated": False, "quarantine": False}, clock=clock)
        self.reads: list[Span | None] = []

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """See ``ObjectStore``."""
        self.reads.append(span)
        found = await super().get(bucket, key, version_id=version_id, span=span)
        if span is not None and span.offset is None:
            await self.put(bucket, key, b"x" * found.info.size)
        return found

    def seen_by(self, effects: Effects) -> "Replacing":
        """This one: there is one process."""
        self.effects = effects
        return self


@pytest.mark.parametrize("versioned", [True, False])
async def test_an_object_that_is_replaced_while_it_is_read_comes_back_later(*, versioned: bool) -> None:
    """Its bytes are of two objects, so nothing is said of either."""
    world = World()
    world.objects = Replacing(versioned=versioned, clock=world.clock)
    await world.plan()
    await world.put(landing_file([[*order(1), noise(1)]], schema=NOISE, fields=NOISE_FIELDS))
    outcome = await world.validate(command())
    assert outcome.failed == {"0": 5.0}
    assert "was replaced while it was read" in outcome.reasons["0"]


async def test_a_small_file_is_read_with_one_request() -> None:
    """Its tail holds all of it; most increments are that small."""
    world = World()
    objects = world.objects = Replacing(versioned=True, clock=world.clock)
    await world.plan()
    await world.put(landing_file(ROWS, [order(3)]))
    assert not (await world.validate(command())).failed
    assert objects.reads == [Span(None, TAIL_BYTES)]
