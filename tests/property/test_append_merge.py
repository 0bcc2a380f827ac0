"""Appending to a file gives what merging it the naive way would give, whatever comes and whoever dies."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.failures import TidegateError
from tests.property.append_checks import check_other_readers
from tests.property.append_mutants import MUTANTS
from tests.property.append_world import AppendWorld, Merge, When, ordered_by

pytestmark = pytest.mark.usefixtures("quiet")

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 2**32 - 1)
merges = st.builds(Merge, st.sampled_from(When), st.sampled_from([0, 1, 2, 3, 7, 8, 9, 25, 60]), SEEDS)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples of a test."""
    with asyncio.Runner() as runner:
        yield runner


async def many_merges(world: AppendWorld, number: int, seed: int) -> None:
    """So many steps in a row: merges, races, deaths, restores, and files that somebody else wrote."""
    random = Random(seed)  # noqa: S311 - to be the same every time
    for _ in range(number):
        merge = Merge(
            random.choice([When.NEWER, *When]), random.choice([0, 1, 1, 1, 2, 3, 8, 20]), random.randrange(2**32)
        )
        event = random.random() if world.history else 0
        if event < 0.7:
            await world.merge(world.rows(merge))
        elif event < 0.8:
            other = Merge(random.choice(list(When)), 3, merge.seed + 1)
            await world.race(world.rows(merge), world.rows(other))
        elif event < 0.94:
            await world.merge_despite_death(world.rows(merge), random.randint(1, 12))
        elif event < 0.97:
            await world.restore(random.randrange(max(0, len(world.history) - 5), len(world.history)))
        else:
            order = random.sample(range(world.expected.num_rows), k=min(40, world.expected.num_rows))
            await world.replace(world.expected.take(order), carries_metadata=random.random() < 0.5)
            await world.merge(world.rows(merge))


@given(
    steps=st.lists(merges, min_size=1, max_size=9),
    order_by=st.sampled_from(["timestamp", "visit_date", "pipeline_adcid"]),
)
@settings(SETTINGS, max_examples=60)
def test_any_merges(runner: asyncio.Runner, steps: Sequence[Merge], order_by: str, tmp_path: Path) -> None:
    """Any merges in a row give what the naive merge gives, in the same order, and every reader agrees."""
    world = AppendWorld(ordered_by(order_by))
    for step in steps:
        runner.run(world.merge(world.rows(step)))
    check_other_readers(world.body, world.expected, order_by, tmp_path)


def test_many_merges_in_a_row(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Merges, deaths, races, restores, compactions and foreign files in a row leave what the naive merge leaves."""
    world = AppendWorld()
    runner.run(many_merges(world, 150, seed=1))
    check_other_readers(world.body, world.expected, "timestamp", tmp_path)
    assert world.put_together() > 75, "most of it did not go through parts"
    assert {"append", "append-compacted", "append-laid-out"} <= set(world.ways)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_more_merges_in_a_row(runner: asyncio.Runner, tmp_path: Path, seed: int) -> None:
    """The same for as long as there is time, in buckets that keep no versions as well."""
    world = AppendWorld()
    runner.run(many_merges(world, 1_000, seed=seed))
    check_other_readers(world.body, world.expected, "timestamp", tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_random_merges_find_a_broken_step(runner: asyncio.Runner, mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one step, some merge of a short row of them goes wrong where we see it."""
    monkeypatch.setattr(*MUTANTS[mutant])
    with pytest.raises((AssertionError, TidegateError, pa.ArrowException, OSError)):
        runner.run(many_merges(AppendWorld(), 120, seed=1))
