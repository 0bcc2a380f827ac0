"""Five hundred merges into one checkpoint, some against each other, leave what as many naive merges leave."""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from services.runtime.failures import ConflictError
from tests.property.append_checks import check_other_readers
from tests.property.append_world import AppendWorld, Merge, When

pytestmark = pytest.mark.usefixtures("quiet")

MERGES = 500
STEPS = {"merge": 50, "death": 22, "race": 12, "sleep": 10, "restore": 4, "death in a race": 2}
"""What may come, and how often in a hundred."""


class SequenceWorld(AppendWorld):
    """One that sorts by Python's own sort, so that nothing of the product says what is right."""

    def naive(self, rows: pa.Table) -> pa.Table:
        """See the world."""
        both = pa.concat_tables([self.expected, rows])
        moments = both.column(self.pipeline.target.order_by).to_pylist()
        order = sorted(range(both.num_rows), key=moments.__getitem__)
        return both.take(pa.array(order, pa.int64())).combine_chunks()

    async def overtaken(self, rows: pa.Table, others: list[pa.Table]) -> None:
        """A merger that sleeps through commits of others is refused, and starts over; raises if it was not."""
        sleeper, commit_id = await self.prepare(rows)
        for other in others:
            await self.merge(other)
        with pytest.raises(ConflictError):
            await self.put(sleeper, commit_id, self.naive(rows))
        self.check()
        await self.merge(rows)


class Sequence:
    """Random steps over a world; ``seen`` counts them, ``merges`` what was merged by them."""

    def __init__(self, seed: int) -> None:
        self.world = SequenceWorld()
        self.seen: Counter[str] = Counter()
        self.merges = 0
        self._random = Random(seed)  # noqa: S311 - to be the same every time

    async def run(self, merges: int) -> None:
        """Go on until so much was merged; every step looks at all a reader could see."""
        while self.merges < merges:
            step = self._random.choices(list(STEPS), list(STEPS.values()))[0] if self.merges else "merge"
            self.seen[step] += 1
            await self._take(step)

    async def _take(self, step: str) -> None:
        world, random = self.world, self._random
        if step == "merge":
            await world.merge(self._rows())
        elif step == "death":
            await world.merge_despite_death(self._rows(), random.randint(1, 12))
        elif step == "race":
            await world.race(self._rows(), self._rows())
        elif step == "sleep":
            await world.overtaken(self._rows(), [self._rows() for _ in range(random.randint(1, 3))])
        elif step == "death in a race":
            sleeper = await world.prepare(self._rows())
            await world.merge_despite_death(self._rows(), random.randint(1, 12))
            with pytest.raises(ConflictError):
                await sleeper[0].put({"commit": sleeper[1]})
            self.merges -= 1  # the sleeper gives up for good
        else:
            await world.restore(random.randrange(max(0, len(world.history) - 4), len(world.history)))

    def _rows(self) -> pa.Table:
        self.merges += 1
        when = self._random.choice([When.NEWER, *When])
        rows = self._random.choice([0, 1, 1, 1, 2, 2, 3, 5, 9])
        return self.world.rows(Merge(when, rows, self._random.randrange(2**32)))


def _check(seed: int, merges: int, scratch: Path) -> None:
    sequence = Sequence(seed)
    with asyncio.Runner() as runner:
        runner.run(sequence.run(merges))
    world = sequence.world
    check_other_readers(world.body, world.expected, "timestamp", scratch)
    assert set(sequence.seen) == set(STEPS)
    ways = Counter(world.ways)
    assert ways["append"] > merges / 2
    assert ways["append-compacted"] > merges / 50
    assert world.put_together() > merges / 4, "too little of it went through parts"


def test_five_hundred_merges(tmp_path: Path) -> None:
    """Newer, late, tied and no rows, with deaths, races, sleepers, restores and compactions between: row for row."""
    _check(7, MERGES, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20, 30))
def test_many_times_five_hundred_merges(tmp_path: Path, seed: int) -> None:
    """The same from other seeds, and for longer."""
    _check(seed, 2 * MERGES, tmp_path)
