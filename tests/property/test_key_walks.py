"""Whatever writer, keys, sizes and changes: every key that is asked for and that the table holds is found."""

import io
from random import Random

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.merger.adapters.key_column import Wanted, range_of
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.spans import Reading
from services.merger.ports import AtHand
from services.runtime.checkpoints import Commit
from services.runtime.failures import ConflictError
from tests.fakes.checkpoints import FakeCheckpoints
from tests.property.table_mutants import MUTANTS, greatest_is_outside, least_is_outside
from tests.property.table_world import PIPELINE
from tests.unit.merger.key_table import CountingObjects

LETTERS = ["a", "b", "~", "\x00", "\x80", "é", "\ue000", "\uffff", "\U00010000", "\U0001f600"]
"""UTF-8 sorts them as code points do, UTF-16 does not."""
STEMS = ["", "", "", "p" * 63, "é" * 32, "\U0001f600" * 16, "q" * 300, "k" * 4_095]
"""About as long as some writers keep whole in statistics."""


class KeysWalk:
    """Files of a table that come and change, and two mergers that ask what is in them."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)  # noqa: S311 - to be the same every time
        self._keeps_versions = random.random() < 0.7
        self._objects, self._heads = CountingObjects(keeps_versions=self._keeps_versions), FakeCheckpoints()
        self._files: dict[str, list[str]] = {}
        self._commits = 0
        self._mergers = [self._merger(), self._merger()]

    def _merger(self) -> S3TableKeys:
        random = self._random
        reading = Reading(
            whole=random.choice([0, 0, 300, 5_000]),
            footer=random.choice([8, 50, 700, 64_000]),
            gap=random.choice([0, 50, 500]),
            span=random.choice([1, 100, 1_000]),
        )
        return S3TableKeys(
            self._objects, self._heads, kept_bytes=random.choice([1, 400, 2_000, 1 << 20]), reading=reading
        )

    async def step(self) -> None:
        """A file changes, or somebody asks, now and then while a file changes."""
        random = self._random
        if random.random() < 0.4:
            await self._change()
            return
        held = [key for keys in self._files.values() for key in keys]
        wanted = [self._key() for _ in range(random.randint(1, 5))]
        wanted += random.sample(held, min(len(held), random.randint(0, 4)))
        before = dict(self._files)
        self._objects.meanwhile = [self._change] if random.random() < 0.2 else []
        try:
            found = await random.choice(self._mergers).among(
                PIPELINE, PIPELINE.name, "processed", pa.chunked_array([wanted], pa.string())
            )
        except ConflictError:
            assert not self._keeps_versions
            return
        finally:
            self._objects.meanwhile = []
        unchanged = {key for name, keys in self._files.items() if before.get(name) is keys for key in keys}
        missed = unchanged & set(wanted) - {key for each in found for key in each.to_pylist()}
        assert not missed, "a key that is there was not found"

    async def _change(self) -> None:
        random, name = self._random, f"processed/month={self._random.choice('abc')}.parquet"
        keys = [self._key() for _ in range(random.choice([0, 1, 3, 8, 20]))]
        body = self._written(keys)
        info = await self._objects.put("processed", name, body)
        self._files[name] = keys
        self._commits += 1
        if random.random() < 0.5:
            ends = range_of(pa.chunked_array([keys], pa.string()))
            made = Commit(
                self._commits, "merge", str(self._commits), name, info.etag, None, len(keys), 0, "", key_range=ends
            )
            await self._heads.register(PIPELINE.name, f"processed/{name}")
            await self._heads.record(f"processed/{name}", made)
        if random.random() < 0.4:
            start = random.choice([0, 1, len(body) // 2, max(0, len(body) - 400)])
            await self._mergers[0].remember(PIPELINE, "processed", info, AtHand(start, body[start:]))

    def _key(self) -> str:
        return self._random.choice(STEMS) + "".join(self._random.choices(LETTERS, k=self._random.randint(0, 3)))

    def _written(self, keys: list[str]) -> bytes:
        random, sink = self._random, io.BytesIO()
        rows = pa.table({"key": pa.array(keys, pa.string()), "said_by": [random.randbytes(20).hex() for _ in keys]})
        if random.random() < 0.25:
            pl.DataFrame(rows).write_parquet(sink, row_group_size=random.choice([1, 2, 5, 100]))
            return sink.getvalue()
        kind = random.choice([pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
        rows = rows.set_column(0, "key", rows.column("key").cast(kind))
        size = random.choice([1, 2, 3, 7, 100])
        with pq.ParquetWriter(
            sink,
            rows.schema,
            use_dictionary=random.choice([True, False]),
            write_statistics=random.choice([True, True, ["said_by"]]),
            data_page_size=random.choice([None, 10]),
            write_page_index=random.choice([True, False]),
        ) as writer:
            for start in range(0, len(keys), size):
                writer.write_table(rows.slice(start, size))
                if random.random() < 0.2:
                    writer.write_table(rows.slice(0, 0))
        return sink.getvalue()


async def walks(seeds: range) -> None:
    """Thirty steps of each."""
    for seed in seeds:
        walk = KeysWalk(seed)
        for _ in range(30):
            await walk.step()


@pytest.mark.parametrize("first", [0, pytest.param(100, marks=pytest.mark.soak)])
async def test_every_key_that_is_there_is_found(first: int) -> None:
    """Files of several writers, cut-off extremes, empty row groups, little memory, heads that lag, changes between."""
    await walks(range(first, first + (40 if first == 0 else 1_000)))


@pytest.mark.parametrize("bent", [greatest_is_outside, least_is_outside])
async def test_walks_find_what_is_passed_over(bent: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extremes of a row group are not looked for in it, a walk finds out."""
    monkeypatch.setattr(Wanted, "meet", bent)
    with pytest.raises(AssertionError, match="not found"):
        await walks(range(40))


@pytest.mark.parametrize("mutant", ["keys-of-any-version", "unknown-is-empty"])
async def test_walks_find_what_is_believed_wrongly(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does where keys outlive their file, or a row group of which nothing is known counts as empty."""
    monkeypatch.setattr(*MUTANTS[mutant])
    with pytest.raises(AssertionError, match="not found"):
        await walks(range(40))
