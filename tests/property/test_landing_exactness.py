"""Bronze holds every committed version that a load could see once, whatever commits late, dies or is delivered twice.

The database is real, and so are its transactions: each of three sessions begins, writes and commits when the story
says so, before, during and after loads. Everything else is in memory and dies between any two of its effects.
"""

import asyncio
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.runs import LoadType
from tests.postgres_support import Database, PostgresServer
from tests.property.land_world import NAME, LandWorld, Version, declare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

SESSIONS = 3
MORTALITY = 0.3
_schemas = itertools.count(1)


@dataclass(frozen=True)
class Write:
    """A session changes some of its keys (no two sessions share one), in its open transaction or by itself."""

    session: int
    keys: list[int]


@dataclass(frozen=True)
class Begin:
    """A session begins a transaction: what it writes from now on is stamped with this moment."""

    session: int


@dataclass(frozen=True)
class End:
    """A session commits, or takes back what it did."""

    session: int
    commits: bool


Act = Write | Begin | End


@dataclass(frozen=True)
class Load:
    """A load, some steps of which go by before more happens in the database."""

    load_type: LoadType
    mortality: float
    meanwhile: list[tuple[int, Act]]


session = st.integers(0, SESSIONS - 1)
ACT = st.one_of(
    st.builds(Write, session, st.lists(st.integers(0, 5), min_size=1, max_size=4)),
    st.builds(Begin, session),
    st.builds(End, session, st.booleans()),
)
LOAD = st.builds(
    Load,
    load_type=st.sampled_from([LoadType.INCREMENTAL, LoadType.INCREMENTAL, LoadType.FULL]),
    mortality=st.sampled_from([0.0, MORTALITY]),
    meanwhile=st.lists(st.tuples(st.integers(0, 8), ACT), max_size=4),
)


class Shop:
    """A table in a schema of its own, and the sessions that change it."""

    def __init__(
        self, schema: str, admin: "asyncpg.Connection[Any]", sessions: "list[asyncpg.Connection[Any]]"
    ) -> None:
        self.schema = schema
        self._admin = admin
        self._sessions = sessions
        self._open: dict[int, Any] = {}
        self._written: dict[int, set[int]] = {}
        self._versions = itertools.count(1)
        self.committed: set[Version] = set()

    async def create(self) -> None:
        """Make the table."""
        await self._admin.execute(f"CREATE SCHEMA {self.schema}")
        columns = "id int PRIMARY KEY, v int, placed_on date, updated_at timestamptz NOT NULL"
        await self._admin.execute(f"CREATE TABLE {self.schema}.orders ({columns})")

    async def drop(self) -> None:
        """Take everything away again."""
        for number in list(self._open):
            await self.play(End(number, commits=False))
        await self._admin.execute(f"DROP SCHEMA {self.schema} CASCADE")

    async def play(self, act: Act) -> None:
        """Do one thing; what a session cannot do now it leaves."""
        number, connection = act.session, self._sessions[act.session]
        if isinstance(act, Begin) and number not in self._open:
            self._open[number] = connection.transaction()
            await self._open[number].start()
            await connection.execute("SELECT now()")
        elif isinstance(act, Write):
            for key in act.keys:
                await self._write(connection, SESSIONS * key + number)
            self._written.setdefault(number, set()).update(SESSIONS * key + number for key in act.keys)
            if number not in self._open:
                await self._note(number)
        elif isinstance(act, End) and number in self._open:
            transaction = self._open.pop(number)
            if act.commits:
                await self._note(number)
                await transaction.commit()
            else:
                self._written.pop(number, None)
                await transaction.rollback()

    async def current(self) -> set[Version]:
        """The committed rows."""
        return {(row["id"], row["v"], row["updated_at"]) for row in await self._rows(self._admin)}

    async def end_all(self) -> None:
        """Let every session commit."""
        for number in range(SESSIONS):
            await self.play(End(number, commits=True))

    async def _write(self, connection: "asyncpg.Connection[Any]", key: int) -> None:
        values = "$1, $2, CASE WHEN $1 % 4 > 0 THEN date '2026-01-01' + $1 % 3 END, now()"
        await connection.execute(
            f"INSERT INTO {self.schema}.orders VALUES ({values}) ON CONFLICT (id) DO UPDATE "  # noqa: S608 - our own words
            "SET v = excluded.v, updated_at = excluded.updated_at",
            key,
            next(self._versions),
        )

    async def _note(self, number: int) -> None:
        """Remember what a session has written: it is committed now, or about to be."""
        written = self._written.pop(number, set())
        for row in await self._rows(self._sessions[number]):
            if row["id"] in written:
                self.committed.add((row["id"], row["v"], row["updated_at"]))

    async def _rows(self, connection: "asyncpg.Connection[Any]") -> Any:
        return await connection.fetch(f"SELECT id, v, updated_at FROM {self.schema}.orders")  # noqa: S608 - our own name


@asynccontextmanager
async def opened(database: Database) -> "AsyncIterator[Shop]":
    """A shop for one story."""
    connections = [await database.connect() for _ in range(SESSIONS + 1)]
    shop = Shop(f"story_{next(_schemas)}", connections[0], connections[1:])
    try:
        await shop.create()
        yield shop
        await shop.drop()
    finally:
        for connection in connections:
            await connection.close()


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> Iterator[Database]:
    """One database for all stories: each has a schema of its own."""
    database = postgres.new_database()
    yield database
    postgres.drop(database)


@pytest.mark.parametrize("overlap_s", [0, 3600])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=st.lists(st.one_of(ACT, ACT, LOAD), max_size=14), seed=st.integers(0, 2**32))
def test_every_visible_version_is_landed_once(
    shared: Database, overlap_s: int, story: list[Act | Load], seed: int
) -> None:
    """Late commits, rollbacks, deaths between all effects, redeliveries, and windows that overlap."""
    asyncio.run(_play(shared, overlap_s, story, seed))


async def _play(database: Database, overlap_s: int, story: list[Act | Load], seed: int) -> None:
    async with opened(database) as shop:
        with tempfile.TemporaryDirectory() as spool:
            rng = Random(seed)  # noqa: S311 - chances of a test
            pipeline = declare(shop.schema, overlap_s=overlap_s)
            world = LandWorld(pipeline, database.secret, Path(spool), rng)
            for act in story:
                if isinstance(act, Load):
                    await _load(world, shop, act)
                else:
                    await shop.play(act)
            await shop.end_all()
            await _load(world, shop, Load(LoadType.INCREMENTAL, 0.0, []))
            landed = _versions(world)
            assert set(landed) >= await shop.current(), "once all have committed, nothing is missing"
            assert not os.listdir(spool), "nothing is left behind on the disk"  # noqa: PTH208 - a test, not a service


async def _load(world: LandWorld, shop: Shop, act: Load) -> None:
    before = await shop.current()
    run_id = world.request(act.load_type)
    for steps, more in act.meanwhile:
        for _ in range(steps):
            queues = world.busy()
            if queues:
                await world.step(world.rng.choice(queues), mortality=act.mortality)
        await shop.play(more)
    await world.settle(mortality=act.mortality)
    await world.assert_succeeded(run_id)
    watermark = await world.watermarks.read(world.pipeline.watermark)
    assert watermark is not None
    assert watermark.cursor is not None
    assert world.mirror()["orders"]["last_sync_timestamp"] == watermark.cursor
    landed = _versions(world)
    assert set(landed) <= shop.committed, "nothing is landed that was not committed"
    for version in before & await shop.current():
        if version[2].isoformat(timespec="microseconds")[:26] < watermark.cursor:
            assert version in landed, (NAME, run_id, version, watermark.cursor)


def _versions(world: LandWorld) -> Counter[Version]:
    """The versions of the newest generation; in every one each is there once, under one hash."""
    for generation in world.bronze().values():
        assert set(generation.values()) <= {1}
        assert len({version for version, _ in generation}) == len(generation)
    return Counter(version for version, _ in world.newest_generation())
