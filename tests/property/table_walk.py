"""Mergers of one table: some live on and remember, some die or sleep; files are restored, and others write some."""

import asyncio
import io
from random import Random

import polars as pl

from contracts.checkpoints import RestoreCheckpoint
from contracts.segments import Destination
from services.merger.ports import Ports
from services.merger.use_case.restore import restore_checkpoint
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.table_checks import rows_of
from tests.property.table_sleepers import asleep
from tests.property.table_world import PIPELINE, SCHEMA, START, TTL_S, TableWorld

STEM = "a stem that is longer than the sixty-four bytes after which some writers cut off /"
"""Begins every key, so that cut-off statistics say nothing of any."""


class TableWalk:
    """So many steps; ``seed`` settles them."""

    def __init__(self, world: TableWorld, seed: int) -> None:
        self.world = world
        self._random = Random(seed)  # noqa: S311 - to be the same every time
        self._runs = 0
        self._moment = 0
        self._late: list[str] = []
        self._steady = world.ports(Effects())

    async def walk(self, steps: int) -> None:
        """Take the steps; at the end every segment was merged."""
        for _ in range(steps):
            event = self._random.random()
            if event < 0.5:
                await self._deliver(await self.run(), self._somebody())
            elif event < 0.75:
                await self._deliver(await self._killed(await self.run()), self._somebody())
            elif event < 0.87:
                await self._slept_through(await self.run(), await self.run())
            elif event < 0.92:
                await self._restored()
            else:
                await self._foreign_file()
        await self.world.merge_for_good(self._late, self._steady)
        self.world.assert_exact()
        for number in range(self._runs):
            await self.world.assert_balanced(f"r{number}")

    async def run(self) -> list[str]:
        """A run of up to three segments, mostly of rows that are newer than all before. Returns their keys."""
        random, run_id = self._random, f"r{self._runs}"
        self._runs += 1
        self._moment += random.randint(0, 6)
        segments = random.randint(1, 3)
        await self.world.open_run(run_id, segments)
        return [
            await self.world.segment(
                run_id,
                f"s{number}",
                random.randint(1, 2),
                self._keys(),
                day=f"2026-03-{random.choice([1, 1, 1, 2]):02}",
                second=self._moment if random.random() < 0.7 else random.randint(0, self._moment),
            )
            for number in range(segments)
        ]

    def _keys(self) -> list[str]:
        """Keys that grow with time, some of which came before; in no order, and one may be there twice."""
        near = self._runs * 4
        numbers = [near + self._random.choice([0, 1, 2, 3, -1, -5, -30]) for _ in range(self._random.randint(0, 6))]
        return [f"{STEM}{max(0, number):04}" for number in numbers]

    def _somebody(self) -> Ports:
        return self._steady if self._random.random() < 0.7 else self.world.ports(Effects())

    async def _deliver(self, keys: list[str], ports: Ports) -> None:
        if self._random.random() < 0.2:
            self._late += keys
        else:
            outcome = await self.world.merge(keys, ports)
            assert not outcome.failed, outcome.reasons

    async def _killed(self, keys: list[str]) -> list[str]:
        try:
            effects = Effects(KillSwitch(self._random.randint(1, 80)))
            outcome = await self.world.merge(keys, self.world.ports(effects))
        except KilledError:
            self.world.clock.advance(TTL_S)
            return keys
        return sorted(outcome.failed)

    async def _slept_through(self, keys: list[str], others: list[str]) -> None:
        """A merger sleeps right before its first swap, and another one takes over meanwhile."""
        ports, objects = asleep(self.world)
        dream = asyncio.ensure_future(self.world.merge(keys, ports))
        sleeps = asyncio.ensure_future(objects.asleep.wait())
        await asyncio.wait([dream, sleeps], return_when=asyncio.FIRST_COMPLETED)
        sleeps.cancel()
        self.world.clock.advance(TTL_S)
        await self.world.merge_for_good(others, self._somebody())
        objects.awake.set()
        outcome = await dream
        await self._deliver(sorted(outcome.failed), self._somebody())

    async def _restored(self) -> None:
        """An earlier version of a file is brought back; what came since may come again."""
        await self.world.merge_for_good(self._late, self._steady)
        self._late = []
        names = sorted(self.world.objects.buckets["processed"].keys)
        if not names:
            return
        at = Destination(bucket="processed", key=self._random.choice(names))
        history = {commit.version: commit for commit in await self.world.checkpoints.history(f"processed/{at.key}")}
        if not history:
            return
        wanted = self._random.randint(max(0, max(history) - 4), max(history))
        remaining = await self._keys_of([name for name in names if name != at.key])
        if wanted:
            remaining += await self._keys_of([at.key], history[wanted].object_version)
        command = RestoreCheckpoint(
            pipeline=PIPELINE.name,
            scope=PIPELINE.name,
            request_id=f"restore-{self._random.randrange(2**32)}",
            destination=at,
            version=wanted,
        )
        await restore_checkpoint(self._somebody(), PIPELINE, command)
        self.world.expected = dict.fromkeys(remaining, "")
        self.world.assert_exact()

    async def _keys_of(self, names: list[str], version: str | None = None) -> list[str]:
        """Of all rows of these files, as they are or as they were."""
        files = [await self.world.objects.get("processed", name, version_id=version) for name in names]
        return [key for stored in files for key in rows_of(stored).column("key").to_pylist()]

    async def _foreign_file(self) -> None:
        """Another program puts a file with keys of its own where none of ours is, and we merge into it."""
        run_id, day = f"r{self._runs}", f"of-others-{self._runs}"
        self._runs += 1
        at = f"processed/month=03/data_{day}.parquet"
        keys = [f"{STEM}{self._runs:04}{letter}" for letter in self._random.sample("xyz", k=3)]
        rows = pl.DataFrame(
            {"key": keys, "created": [START.replace(month=3)] * 3, "said_by": ["others"] * 3}
        ).with_columns(pl.col("created").cast(pl.Datetime("us")))
        assert rows.columns == SCHEMA.names
        sink = io.BytesIO()
        rows.write_parquet(sink, row_group_size=2)
        await self.world.objects.put("processed", at, sink.getvalue())
        self.world.expected |= dict.fromkeys(keys, "")
        await self.world.open_run(run_id, 1)
        again = [*self._keys(), *keys[:2]]
        segment = await self.world.segment(run_id, "s0", 3, again, day=day, second=self._random.randint(0, 1))
        await self._deliver([segment], self._somebody())
