"""Counting and slicing: few questions, bounded segments, no cursor cut in two."""

from dataclasses import dataclass, field

import pytest

from contracts.fetching import KeyRange
from contracts.runs import RunMode
from services.planner.core.slices import label_of, segment_id_of_range
from services.planner.core.window import Window
from services.planner.use_case.counting import Counted, count
from services.runtime.datasets import Tally
from tests.fakes.datasets import FakeDataset
from tests.unit.planner.collecting import World, collected, row

START = "2025-12-01T00:00:00.000"
DAYS = [f"2025-12-0{day}" for day in range(1, 8)]


@dataclass
class Source:
    """A source whose questions are counted. Without more, a segment has ten rows."""

    segment_rows: int = 10
    batch_size: int = 10
    max_records: int = 1_000
    known: str | None = None
    start: str = START
    rows: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = World(collected(segment_rows=self.segment_rows, batch_size=self.batch_size)).source
        self.dataset = FakeDataset(source)
        for cursor, many in self.rows.items():
            self.dataset.publish(*(row(cursor, f"{cursor}/{n:02}") for n in range(many)))

    async def count(self) -> Counted:
        """The ranges up to the newest row."""
        newest = await self.dataset.newest()
        self.dataset.effects.performed.clear()
        window = Window(RunMode.INCREMENTAL, self.start, self.start, self.known)
        return await count(self.dataset, self.dataset.source, window, newest, self.max_records)

    @property
    def asked(self) -> list[str]:
        """Which questions the source was asked."""
        return [name.split()[0] for name in self.dataset.effects.performed]


def sizes(counted: Counted) -> list[int]:
    """Rows by segment."""
    return [planned.expected_rows for planned in counted.ranges]


def labels(counted: Counted) -> list[str]:
    """The ranges, for people."""
    return [label_of(planned.range) for planned in counted.ranges]


async def test_days_that_fit_are_not_looked_into() -> None:
    """One question is enough where no day is larger than a segment and the limit is far away."""
    source = Source(rows={f"{day}T10": 6 for day in DAYS})
    counted = await source.count()
    assert source.asked == ["days"]
    assert sizes(counted) == [6] * 7
    assert labels(counted)[0] == f"{START} until 2025-12-02T00:00:00.000"
    assert labels(counted)[-1] == "2025-12-07T00:00:00.000 to 2025-12-07T10:00:00.000"
    assert (counted.end, counted.is_cut) == ("2025-12-07T10:00:00.000", False)


async def test_small_days_share_a_segment() -> None:
    """Evenly, and in order; a last segment that would be tiny is none."""
    source = Source(rows={f"{day}T10": 3 for day in DAYS})
    assert sizes(await source.count()) == [6, 9, 6]
    source = Source(rows={f"{DAYS[0]}T10": 9, f"{DAYS[1]}T10": 2})
    assert sizes(await source.count()) == [11]


async def test_only_a_large_day_is_counted_by_cursor() -> None:
    """Its neighbours are not."""
    rows = {f"{DAYS[0]}T10": 4, f"{DAYS[2]}T10": 4} | {f"{DAYS[1]}T{hour}": 3 for hour in range(10, 16)}
    source = Source(rows=rows)
    counted = await source.count()
    assert source.asked == ["days", "cursors"]
    assert sizes(counted) == [10, 9, 7]
    assert counted.ranges[1].range == KeyRange(start="2025-12-02T12:00:00.000", before="2025-12-02T15:00:00.000")


async def test_an_instant_that_is_too_large_is_cut_by_its_keys() -> None:
    """Before it and after it the ranges go on without a gap, though there may be no row now."""
    source = Source(rows={f"{DAYS[1]}T10": 25, f"{DAYS[3]}T10": 4})
    counted = await source.count()
    assert source.asked == ["days", "cursors", "keys"]
    instant = "2025-12-02T10:00:00.000"
    assert [planned.range for planned in counted.ranges] == [
        KeyRange(start=START, before=instant),
        KeyRange(start=instant, to=instant, to_key="2025-12-02T10/08"),
        KeyRange(start=instant, to=instant, after_key="2025-12-02T10/08", to_key="2025-12-02T10/17"),
        KeyRange(start=instant, to=instant, after_key="2025-12-02T10/17"),
        KeyRange(start="2025-12-02T10:00:00.001", to="2025-12-04T10:00:00.000"),
    ]
    assert sizes(counted) == [0, 9, 9, 7, 4]


async def test_two_neighbouring_instants_are_cut_with_what_lies_between() -> None:
    """A row may still be published between them, but not between two that are a millisecond apart."""
    first, second, third = (f"2025-12-01T00:00:00.{ms}" for ms in ("000", "001", "005"))
    source = Source(rows=dict.fromkeys((first, second, third), 12))
    assert labels(await source.count()) == [
        f"{first}, keys up to {first}/05",
        f"{first}, keys after {first}/05",
        f"{second}, keys up to {second}/05",
        f"{second}, keys after {second}/05",
        "2025-12-01T00:00:00.002 until 2025-12-01T00:00:00.005",
        f"{third}, keys up to {third}/05",
        f"{third}, keys after {third}/05",
    ]


async def test_a_small_plan_is_cut_so_that_all_fetchers_have_work() -> None:
    """Into four, if each has more than a page."""
    rows = {f"{DAYS[0]}T{hour}:{minute}": 1 for hour in range(10, 20) for minute in range(10, 18)}
    source = Source(segment_rows=100, batch_size=10, rows=rows)
    assert sizes(await source.count()) == [20] * 4
    source = Source(segment_rows=100, batch_size=20, rows=rows)
    assert sizes(await source.count()) == [80]
    assert source.asked == ["days"]


async def test_sharing_out_makes_no_segment_smaller_than_a_page() -> None:
    """Neither of days that come near to a share, nor of one instant."""
    rows = {f"2025-12-{day:02}T10": 14 for day in range(1, 8)}
    source = Source(segment_rows=100, batch_size=20, rows=rows)
    assert sizes(await source.count()) == [28, 28, 28, 14]
    source = Source(segment_rows=100, batch_size=20, rows={f"{DAYS[0]}T10": 30, f"{DAYS[1]}T10": 66})
    counted = await source.count()
    assert sizes(counted) == [30, 22, 22, 22]


@pytest.mark.parametrize(
    ("limit", "end", "taken", "asked"),
    [
        (12, None, 12, ["days"]),
        (11, "2025-12-03T10:00:00.000", 10, ["days", "cursors"]),
        (10, "2025-12-03T10:00:00.000", 10, ["days", "cursors"]),
        (9, "2025-12-02T12:00:00.000", 8, ["days", "cursors", "cursors"]),
        (8, "2025-12-02T12:00:00.000", 8, ["days", "cursors"]),
        (7, "2025-12-02T10:00:00.000", 6, ["days", "cursors"]),
        (4, "2025-12-01T12:00:00.000", 4, ["days", "cursors"]),
        (2, "2025-12-01T10:00:00.000", 2, ["days", "cursors"]),
        (1, "2025-12-01T10:00:00.000", 2, ["days", "cursors"]),
    ],
)
async def test_the_limit_falls_between_two_cursors(limit: int, end: str | None, taken: int, asked: list[str]) -> None:
    """As late as fits; if not even the first cursor's rows fit, they are taken all the same."""
    rows = {f"{day}T{hour}": 2 for day in DAYS[:3] for hour in (10, 12)}
    source = Source(segment_rows=100, max_records=limit, rows=rows)
    counted = await source.count()
    assert (counted.end, counted.is_cut) == (end or "2025-12-03T12:00:00.000", end is not None)
    assert sum(sizes(counted)) == taken
    assert source.asked == asked


async def test_what_is_known_does_not_count_for_the_limit() -> None:
    """Rows up to the watermark are read again; the limit is for those beyond it, also within its day."""
    rows = {f"{DAYS[1]}T{hour}": 2 for hour in (10, 11, 12)} | {f"{DAYS[2]}T10": 2}
    source = Source(segment_rows=100, max_records=2, known="2025-12-02T11:00:00.000", rows=rows)
    counted = await source.count()
    assert (counted.end, sum(sizes(counted))) == ("2025-12-02T12:00:00.000", 6)
    source = Source(segment_rows=100, max_records=4, known="2025-12-02T11:00:00.000", rows=rows)
    counted = await source.count()
    assert (counted.end, counted.is_cut, sum(sizes(counted))) == ("2025-12-03T10:00:00.000", False, 8)


async def test_nothing_is_nothing() -> None:
    """No rows at all, none since the start, or none any more."""
    assert await Source().count() == Counted([])
    assert await Source(rows={"2025-11-30T10": 3}).count() == Counted([])

    class Emptied(FakeDataset):
        async def rows_by_day(self, within: KeyRange) -> list[Tally]:
            self.rows.clear()
            return await super().rows_by_day(within)

    source = Source(rows={f"{DAYS[0]}T10": 3})
    source.dataset = Emptied(source.dataset.source, source.dataset.rows)
    assert await source.count() == Counted([])


async def test_rows_that_vanish_while_they_are_counted_do_no_harm() -> None:
    """A day may have fewer rows when it is looked into; the limit is told from what is there then."""

    class Shrinking(FakeDataset):
        async def rows_by_cursor(self, within: KeyRange) -> list[Tally]:
            self.rows[:] = [each for each in self.rows if not each["created"].startswith(DAYS[0])]
            return await super().rows_by_cursor(within)

    source = Source(segment_rows=5, max_records=8, rows={f"{day}T10": 6 for day in DAYS[:3]})
    source.dataset = Shrinking(source.dataset.source, source.dataset.rows)
    counted = await source.count()
    assert (counted.end, counted.is_cut) == ("2025-12-02T10:00:00.000", True)
    assert sum(sizes(counted)) == 6


def test_a_segment_is_named_after_its_range() -> None:
    """Equal ranges, equal names: a repetition rewrites the same object."""
    one = KeyRange(start=START, before="2025-12-02T00:00:00.000")
    assert segment_id_of_range(one) == segment_id_of_range(one.model_copy())
    assert segment_id_of_range(one) != segment_id_of_range(KeyRange(start=START, to="2025-12-02T00:00:00.000"))
    assert len(segment_id_of_range(one)) == 24
