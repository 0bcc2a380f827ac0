"""What every Dataset does, held against the fake and against the client of a Socrata server."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.fetching import KeyRange
from services.runtime.datasets import Position, Tally, position_of
from services.runtime.failures import TemporaryError
from tests.conformance.dataset_worlds import (
    COLUMNS,
    IN_ORDER,
    MIXED,
    SOURCE,
    YEAR,
    Client,
    World,
    client_of,
    cursor,
    row,
    world_on,
)
from tests.fakes.datasets import FakeDataset, FakeDatasets
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, ScriptedNetwork
from tests.socrata_support import DATASET, SocrataServer
from tests.unit.runtime.scripted_portal import PIPELINE

ODD_KEYS = [
    "",
    " ",
    "''",
    "' or 1=1 --",
    "%27",
    "a&b=c#d?e",
    "a+b",
    "\\",
    '"',
    "`",
    "ä\N{LINE SEPARATOR}日本🙂",
    "\t\n",
]


class DatasetConformance:
    """Subclasses give a ``world`` fixture without rows."""

    async def test_empty(self, world: World) -> None:
        """A dataset without rows has no newest cursor, no counts, no keys, and one page without rows."""
        assert await world.dataset.newest() is None
        assert await world.dataset.rows_by_day(YEAR) == []
        assert await world.dataset.rows_by_cursor(YEAR) == []
        assert await world.dataset.keys_at(YEAR.start, 1) == []
        assert await world.rows(YEAR) == []

    async def test_order(self, world: World) -> None:
        """Rows come by cursor and, within one, by key as text; those without a cursor or not wanted do not come."""
        world.publish(MIXED)
        assert await world.keys(YEAR) == IN_ORDER

    @pytest.mark.parametrize(
        ("within", "keys"),
        [
            (KeyRange(start=cursor("01T00:00:00"), before=cursor("02T00:00:00")), ["07", "20", "3", "1"]),
            (KeyRange(start=cursor("01T00:00:00"), to=cursor("02T00:00:00")), ["07", "20", "3", "1", "10", "8", "9"]),
            (KeyRange(start=cursor("01T09:00:00"), before=cursor("01T09:00:01")), ["20", "3"]),
            (KeyRange(start=cursor("01T00:00:01"), to=cursor("01T09:00:00")), ["20", "3"]),
            (KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00")), ["10", "8", "9"]),
            (KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00"), after_key="10"), ["8", "9"]),
            (KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00"), to_key="8"), ["10", "8"]),
            (KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00"), after_key="10", to_key="8"), ["8"]),
            (KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00"), after_key="8", to_key="8"), []),
            (KeyRange(start=cursor("03T00:00:00"), before=cursor("04T12:00:00")), []),
            (KeyRange(start=cursor("02T00:00:00"), before=cursor("02T00:00:00")), []),
            (KeyRange(start=cursor("04T00:00:00"), before=cursor("01T00:00:00")), []),
        ],
    )
    async def test_ranges(self, world: World, within: KeyRange, keys: list[str]) -> None:
        """A range holds its start, holds its end only if that is inclusive, and is cut by keys inside one instant."""
        world.publish(MIXED)
        assert await world.keys(within) == keys
        assert sum(tally.rows for tally in await world.dataset.rows_by_day(within)) == len(keys)
        assert sum(tally.rows for tally in await world.dataset.rows_by_cursor(within)) == len(keys)

    async def test_pages_fit_together(self, world: World) -> None:
        """Pages of any length give the rows of the whole, in its order, each once; also those that cut an instant."""
        world.publish(MIXED)
        for limit in range(1, len(IN_ORDER) + 2):
            assert await world.keys(YEAR, limit) == IN_ORDER

    async def test_after_a_position(self, world: World) -> None:
        """A position needs no row at it: what comes after it is what would come after such a row."""
        world.publish(MIXED)
        for place, key in ((cursor("01T09:00:00"), "25"), (cursor("01T09:00:00"), "20")):
            assert await world.keys(YEAR, after=Position(place, key)) == IN_ORDER[2:]
        assert await world.keys(YEAR, after=Position(cursor("03T00:00:00"), "")) == ["2"]
        assert await world.keys(YEAR, after=Position(cursor("31T00:00:00"), "")) == []
        instant = KeyRange(start=cursor("02T00:00:00"), to=cursor("02T00:00:00"), to_key="8")
        assert await world.keys(instant, after=Position(cursor("02T00:00:00"), "10")) == ["8"]

    async def test_a_short_page_is_not_the_last(self, world: World) -> None:
        """Where the source caps its answers, short pages go on to the page without rows."""
        world.publish(MIXED)
        world.cap(2)
        assert await world.keys(YEAR, 5) == IN_ORDER

    async def test_rows_between_pages(self, world: World) -> None:
        """Rows that appear between two pages come if they stand after the position, and move no other row."""
        world.publish(MIXED)
        first = await world.dataset.page(YEAR, None, 3)
        position = position_of(first.last_line, SOURCE)
        assert position == Position(cursor("01T09:00:00"), "3")
        world.publish(
            [row("00", "01T00:00:00"), row("21", "01T09:00:00"), row("4", "01T09:00:00"), row("z", "03T00:00:00")]
        )
        assert await world.keys(YEAR, 2, position) == ["4", "1", "10", "8", "9", "z", "2"]
        assert await world.keys(YEAR) == ["00", "07", "20", "21", "3", "4", "1", "10", "8", "9", "z", "2"]

    async def test_late_rows(self, world: World) -> None:
        """A row that is published late, under an old cursor, is there for the next one who reads that range."""
        world.publish(MIXED)
        day = KeyRange(start=cursor("01T00:00:00"), before=cursor("02T00:00:00"))
        before = await world.keys(day)
        world.publish([row("late", "01T12:00:00")])
        assert await world.keys(day) == [*before[:-1], "late", before[-1]]
        assert [tally.rows for tally in await world.dataset.rows_by_day(day)] == [5]
        assert await world.dataset.newest() == cursor("04T12:00:00")

    async def test_changed_rows(self, world: World) -> None:
        """A row that changes is there once, as it is now, and is gone when it is no longer wanted."""
        world.publish(MIXED)
        world.publish([row("20", "01T09:00:00", "In Progress", city="BRONX"), row("3", "01T09:00:00", "Closed")])
        rows = await world.rows(KeyRange(start=cursor("01T09:00:00"), to=cursor("01T09:00:00")))
        assert [(found["unique_key"], found.get("city")) for found in rows] == [("20", "BRONX")]
        assert await world.dataset.keys_at(cursor("01T09:00:00"), 1) == ["20"]

    async def test_rows_are_kept_as_they_are(self, world: World) -> None:
        """Whatever a row holds comes back: nested objects, columns nobody declared, any text."""
        odd = row(
            "1",
            "01T00:00:00",
            location={"latitude": "40.6", "human_address": '{"address": "{", "city": ""}'},
            resolution="Two\nlines, \N{LINE SEPARATOR} a }\n,{ and \"unique_key\": '7'; ä🙂",
        )
        odd[":@computed_region_efsh_h5xi"] = "15312"
        world.publish([odd, row("2", "01T00:00:00")])
        assert await world.rows(YEAR) == [odd, row("2", "01T00:00:00")]

    async def test_quoting(self, world: World) -> None:
        """Keys of any text are found by a position, by a range and by a step, and mean nothing else to the source."""
        keys = sorted(ODD_KEYS)
        world.publish([row(key, "01T00:00:00") for key in keys])
        world.publish([row("closed", "01T00:00:00", "Closed")])
        at = cursor("01T00:00:00")
        assert await world.keys(YEAR, 1) == keys
        assert await world.dataset.keys_at(at, 1) == keys
        for number, key in enumerate(keys):
            assert await world.keys(KeyRange(start=at, to=at, after_key=key)) == keys[number + 1 :]
            assert await world.keys(KeyRange(start=at, to=at, to_key=key)) == keys[: number + 1]

    async def test_newest(self, world: World) -> None:
        """The newest cursor is that of a wanted row, to the letter, and moves when rows are published."""
        world.publish([row("1", "05T00:00:00", "Closed"), row("2", "04T11:59:59")])
        assert await world.dataset.newest() == cursor("04T11:59:59")
        world.publish([row("3", "04T12:00:00")])
        assert await world.dataset.newest() == cursor("04T12:00:00")

    async def test_rows_by_day(self, world: World) -> None:
        """Each day that has rows is counted once, in order, from midnight to midnight; others are left out."""
        world.publish(MIXED)
        days = [
            Tally(cursor("01T00:00:00"), 4),
            Tally(cursor("02T00:00:00"), 3),
            Tally(cursor("04T00:00:00"), 1),
        ]
        assert await world.dataset.rows_by_day(YEAR) == days
        world.cap(1)
        assert await world.dataset.rows_by_day(YEAR) == days

    async def test_a_part_of_a_day(self, world: World) -> None:
        """A day that a range cuts is counted for that part, under the day's own name."""
        world.publish(MIXED)
        part = KeyRange(start=cursor("01T09:00:00"), to=cursor("02T00:00:00"), before=None)
        assert await world.dataset.rows_by_day(part) == [
            Tally(cursor("01T00:00:00"), 3),
            Tally(cursor("02T00:00:00"), 3),
        ]

    async def test_rows_by_cursor(self, world: World) -> None:
        """Each cursor that has rows is counted once, in order; capped answers are gone through to the end."""
        world.publish(MIXED)
        cursors = [
            Tally(cursor("01T00:00:00"), 1),
            Tally(cursor("01T09:00:00"), 2),
            Tally(cursor("01T23:59:59"), 1),
            Tally(cursor("02T00:00:00"), 3),
            Tally(cursor("04T12:00:00"), 1),
        ]
        assert await world.dataset.rows_by_cursor(YEAR) == cursors
        world.cap(2)
        assert await world.dataset.rows_by_cursor(YEAR) == cursors

    async def test_the_hour_that_comes_twice(self, world: World) -> None:
        """Floating timestamps are compared as they are given, also those of an hour that a clock skips or repeats."""
        skipped, repeated = "2026-03-08T02:30:00.000", "2026-11-01T01:30:00.000"
        world.publish([row(key, "01T00:00:00") | {"created_date": at} for key, at in (("s", skipped), ("r", repeated))])
        assert await world.dataset.newest() == repeated
        assert await world.keys(KeyRange(start=skipped, to=skipped)) == ["s"]
        assert await world.keys(KeyRange(start="2026-11-01T01:00:00.000", before="2026-11-01T02:00:00.000")) == ["r"]
        assert [tally.value for tally in await world.dataset.rows_by_day(YEAR)] == [
            "2026-03-08T00:00:00.000",
            "2026-11-01T00:00:00.000",
        ]

    @pytest.mark.parametrize(
        ("every", "keys"), [(1, list("abcdefg")), (2, list("bdf")), (3, list("cf")), (7, ["g"]), (8, [])]
    )
    async def test_keys_at(self, world: World, every: int, keys: list[str]) -> None:
        """The keys that cut an instant into pieces of equal length, of which the last is the shortest."""
        world.publish([row(key, "01T00:00:00") for key in "gfedcba"])
        world.publish([row("x", "01T00:00:00", "Closed"), row("y", "01T00:00:01")])
        assert await world.dataset.keys_at(cursor("01T00:00:00"), every) == keys

    @pytest.mark.parametrize("every", [0, -1])
    async def test_no_step(self, world: World, every: int) -> None:
        """A step that goes nowhere is a mistake of the caller's, and so is a page of no rows."""
        with pytest.raises(ValueError, match="every"):
            await world.dataset.keys_at(cursor("01T00:00:00"), every)
        with pytest.raises(ValueError, match="limit"):
            await world.dataset.page(YEAR, None, every)


class TestFakeDataset(DatasetConformance):
    """The fake."""

    @pytest.fixture
    def fake(self) -> FakeDataset:
        """A source in memory."""
        return FakeDataset(SOURCE, wanted=lambda found: found["status"] in {"Open", "In Progress"})

    @pytest.fixture
    def world(self, fake: FakeDataset) -> World:
        """That source."""

        def cap(rows: int) -> None:
            fake.cap = rows

        return World(FakeDatasets({PIPELINE: fake}).of(PIPELINE), lambda rows: fake.publish(*rows), cap)

    async def test_trouble(self, fake: FakeDataset) -> None:
        """An answer that is lost is a TemporaryError, for the process whose network it is."""
        fake.publish(*MIXED)
        network = ScriptedNetwork()
        other = FakeDatasets({PIPELINE: fake}).seen_by(Effects(network=network)).of(PIPELINE)
        network.next(Fate.ANSWER_LOST)
        with pytest.raises(TemporaryError, match=DATASET):
            await other.page(YEAR, None, 10)
        assert await other.page(YEAR, None, 10) == await fake.page(YEAR, None, 10)

    async def test_rows_disappear(self, fake: FakeDataset) -> None:
        """A row that the source withdraws is in no answer any more."""
        fake.publish(*MIXED)
        fake.withdraw("2", "07")
        assert await fake.newest() == cursor("02T00:00:00")
        assert (await fake.page(YEAR, None, 100)).rows == len(IN_ORDER) - 2


class TestSocrataDataset(DatasetConformance):
    """The client on the sample server; its trouble is in test_dataset_trouble."""

    @pytest.fixture
    def world(self, client: Client, server: SocrataServer) -> World:
        """The server's dataset."""
        return world_on(server, client)

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_as_the_fake_says(self, running: SocrataServer, data: st.DataObject) -> None:
        """Whatever rows there are and whatever is asked of them, server and fake answer the same."""
        keys = st.text(st.sampled_from("09aZ'%_ é\\"), max_size=2)
        moments = st.sampled_from([cursor(f"{day}T{at}") for day in ("01", "02") for at in ("00:00:00", "23:59:59")])
        rows = data.draw(
            st.lists(
                st.tuples(keys, moments, st.sampled_from(["Open", "Closed"])), max_size=12, unique_by=lambda r: r[0]
            )
        )
        start, end, after = data.draw(moments), data.draw(moments), data.draw(st.none() | st.tuples(moments, keys))
        within = data.draw(
            st.sampled_from([KeyRange(start=start, before=end), KeyRange(start=start, to=end)])
            | st.tuples(keys, keys).map(lambda k: KeyRange(start=start, to=start, after_key=k[0], to_key=k[1]))
        )
        limit = data.draw(st.integers(1, 5))
        asyncio.run(_compare(running, rows, within, None if after is None else Position(*after), limit))


async def _compare(
    server: SocrataServer,
    rows: list[tuple[str, str, str]],
    within: KeyRange,
    after: Position | None,
    limit: int,
) -> None:
    published = [{"unique_key": key, "created_date": at, "status": status} for key, at, status in rows]
    server.reset()
    server.load(published, columns=COLUMNS, key=SOURCE.unique_key)
    fake = FakeDataset(SOURCE, published, wanted=lambda found: found["status"] == "Open")
    client = client_of(server)
    async with client.datasets:
        real = client.dataset
        assert await real.page(within, after, limit) == await fake.page(within, after, limit)
        assert await real.rows_by_day(within) == await fake.rows_by_day(within)
        assert await real.rows_by_cursor(within) == await fake.rows_by_cursor(within)
        assert await real.keys_at(within.start, limit) == await fake.keys_at(within.start, limit)
        assert await real.newest() == await fake.newest()
