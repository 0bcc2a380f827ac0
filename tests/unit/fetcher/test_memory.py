"""How much memory a large segment takes."""

import gzip
import io
import tracemalloc
from hashlib import sha256

from contracts.fetching import KeyRange
from services.runtime.datasets import Block, Position
from tests.fakes.datasets import FakeDataset, FakeDatasets
from tests.unit.fetcher.world import NAME, START, World, command, declared

ROWS, PAGE = 100_000, 2_000
FILLER = b" ".join(b"%d-%x" % (number, number * 2_654_435_761 % 2**32) for number in range(70))
MB = 1024 * 1024


class Generated(FakeDataset):
    """A dataset of many rows of about 0.9 kB, none of which exists before it is asked for."""

    async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
        """See the port."""
        assert within.start == START
        first = 0 if after is None else int(after.key) + 1
        keys = range(first, min(first + limit, ROWS))
        lines = [
            b'{"unique_key":"%08d","created_date":"%s","digest":"%s","text":"%s"}\n'
            % (key, START.encode(), sha256(b"%d" % key).hexdigest().encode() * 2, FILLER[key % 200 :])
            for key in keys
        ]
        return Block(b"".join(lines), len(lines))


async def test_memory_does_not_grow_with_the_rows() -> None:
    """Of 100,000 rows only some pages and the compressed object, once or twice, are held at any time."""
    world = World(declared(batch_size=PAGE))
    await world.begin()
    source = FakeDatasets({NAME: Generated(world.dataset.source)})
    tracemalloc.start()
    try:
        await world.fetch(command(expected=ROWS), datasets=source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    stored = world.stored()
    assert stored is not None
    assert (await world.entry()).fetched == ROWS
    size = lines = 0
    with gzip.open(io.BytesIO(stored.body)) as raw:
        while part := raw.read(MB):
            size, lines = size + len(part), lines + part.count(b"\n")
    assert lines == ROWS
    assert size > 80 * MB
    assert peak < 2 * len(stored.body) + 6 * size * PAGE // ROWS
