"""Many merges over the emulator's S3, with real parts: row for row what naive merges make."""

from datetime import timedelta
from random import Random

import pyarrow as pa
import pytest

from services.runtime.aws.clients import Clients
from services.runtime.failures import ConflictError
from services.runtime.multipart import PART_MIN
from tests.emulator_support import Stack
from tests.integration.append_rows import START, Checkpoint, rows_at, seconds

ROWS = 12_000
"""At first: with their labels more than 5 MiB, below which nothing is copied inside S3."""
CHECKED_EVERY = 10


async def _sequence(checkpoint: Checkpoint, merges: int, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - to be the same every time
    await checkpoint.merge(rows_at(seconds(0, ROWS), random), "base")
    assert checkpoint.history[0][0].size > PART_MIN
    while (number := len(checkpoint.history)) <= merges:
        rows, commit = _rows(checkpoint, random), f"c{number}"
        step = random.random()
        if step < 0.55:
            await checkpoint.merge(rows, commit)
        elif step < 0.75:
            await checkpoint.merge_despite_death(rows, commit, random.randint(1, 14))
        elif step < 0.92:
            await _race(checkpoint, rows, _rows(checkpoint, random), commit)
        else:
            await checkpoint.restore(
                random.randrange(max(0, len(checkpoint.history) - 4), len(checkpoint.history)), commit
            )
        if number // CHECKED_EVERY < len(checkpoint.history) // CHECKED_EVERY:
            await checkpoint.check()
    await checkpoint.check()
    copied = [info for info, _ in checkpoint.history if "-" in info.etag]
    assert len(copied) > 0.6 * len(checkpoint.history), "too little was put together from parts"
    assert checkpoint.ways.count("append") > merges / 2
    assert "append-compacted" in checkpoint.ways


async def _race(checkpoint: Checkpoint, rows: pa.Table, others: pa.Table, commit: str) -> None:
    """Two mergers prepare from the same object: the second is refused, and starts over."""
    loser = await checkpoint.prepare(others, f"{commit}-loser")
    await checkpoint.merge(rows, commit)
    with pytest.raises(ConflictError):
        await loser.put({"commit": f"{commit}-loser"})
    await checkpoint.merge(others, f"{commit}-again")


def _rows(checkpoint: Checkpoint, random: Random) -> pa.Table:
    """A few rows: newer, tied with the last, late, very late, or none."""
    last = checkpoint.expected[-1][0]
    begins = [last + timedelta(seconds=1), last, last - timedelta(seconds=500), START - timedelta(seconds=3)]
    [begin] = random.choices(begins, [60, 15, 20, 5])
    number = random.choice([0, 1, 5, 20, 100])
    return rows_at([begin + timedelta(seconds=random.randint(0, 3)) for _ in range(number)], random)


async def test_sixty_merges(clients: Clients, stack: Stack) -> None:
    """Newer, tied, late and no rows, deaths between requests, races, restores and compactions in between."""
    await _sequence(Checkpoint(clients, stack.resource("checkpoints")), 60, seed=3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12])
async def test_five_hundred_merges(clients: Clients, stack: Stack, seed: int) -> None:
    """The same, for longer."""
    await _sequence(Checkpoint(clients, stack.resource("checkpoints")), 500, seed=seed)
