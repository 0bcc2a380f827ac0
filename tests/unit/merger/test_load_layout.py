"""What a load adds to bronze, in which parts and groups, and which rows each of them reads."""

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.loads import Chunk, DayRows, GroupResult, LandedSegment, LoadManifest, PartGroup, SegmentShare
from contracts.runs import LoadType
from contracts.segments import SegmentCounts
from services.merger.core.loads import (
    GROUP_BYTES,
    GROUP_ROWS,
    WINDOW_BYTES,
    folder_of,
    generation_of,
    ingestion_id,
    next_numbers,
    plan_groups,
    shares_of,
    windows,
)

FOLDER = folder_of("data/bronze/", "orders", "2026-03-01", LoadType.FULL)


def segment(number: int, *chunks: tuple[int, Mapping[str | None, int]]) -> LandedSegment:
    """A segment with chunks of (bytes, rows by day)."""
    at, found = 0, []
    for length, days in chunks:
        rows = [DayRows(date=day, rows=count) for day, count in days.items()]
        found.append(Chunk(offset=at, length=length, rows=sum(days.values()), days=rows))
        at += length
    return LandedSegment(
        pipeline="shop.orders",
        run_id="r",
        run_date="2026-03-01",
        segment_id=f"s{number}",
        load_type=LoadType.FULL,
        fields=[],
        bucket="raw",
        key=f"s{number}.land",
        etag="e",
        counts=SegmentCounts(),
        chunks=found,
    )


def plan(segments: Sequence[LandedSegment], part_bytes: int = 10**9) -> list[PartGroup]:
    """The groups of these segments."""
    return plan_groups(segments, FOLDER, {}, part_bytes)


def test_days_are_parts_and_undated_rows_are_last() -> None:
    """Each event date has a folder of its own; rows without one go where Hive looks for them."""
    [group] = plan([segment(0, (10, {"2026-01-02": 1, None: 2})), segment(1, (10, {"2026-01-01": 1, "2026-01-02": 1}))])
    assert [part.key for part in group.parts] == [
        "data/bronze/orders/ingestion_date=2026-03-01/load_type=full/event_date=2026-01-01/part-00000.parquet",
        "data/bronze/orders/ingestion_date=2026-03-01/load_type=full/event_date=2026-01-02/part-00000.parquet",
        f"{FOLDER}event_date=__HIVE_DEFAULT_PARTITION__/part-00000.parquet",
    ]


def test_numbers_go_on_after_those_that_are_taken() -> None:
    """A second load of a day never names a part as the first did, and gaps are not filled."""
    keys = [f"{FOLDER}event_date=2026-01-01/part-00000.parquet", f"{FOLDER}event_date=2026-01-01/part-00007.parquet"]
    keys += [f"{FOLDER}event_date=__HIVE_DEFAULT_PARTITION__/part-00001.parquet", f"{FOLDER}_SUCCESS"]
    assert next_numbers(keys) == {"2026-01-01": 8, None: 2}
    [group] = plan_groups([segment(0, (10, {"2026-01-01": 1, None: 1}))], FOLDER, next_numbers(keys), 100)
    assert [part.key[-18:] for part in group.parts] == ["part-00008.parquet", "part-00002.parquet"]


def test_a_large_day_has_several_parts_each_written_alone() -> None:
    """The bytes of a day decide how many parts it has; each of them is a group, so that mergers share the day."""
    groups = plan([segment(0, (1000, {"2026-01-01": 900, "2026-01-02": 100}))], part_bytes=400)
    assert [[(p.date, p.share, p.shares) for p in group.parts] for group in groups] == [
        [("2026-01-01", 0, 3)],
        [("2026-01-01", 1, 3)],
        [("2026-01-01", 2, 3)],
        [("2026-01-02", 0, 1)],
    ]


def test_neighbouring_days_are_grouped_up_to_a_bound() -> None:
    """Groups are bounded in bytes and in rows, whatever the load's size."""
    half = GROUP_BYTES // 2
    days: list[str | None] = [f"2026-01-{n:02}" for n in range(1, 6)]
    assert [len(group.parts) for group in plan([segment(0, *((half, {day: 1}) for day in days))])] == [2, 2, 1]
    many = [(10, {day: GROUP_ROWS // 3}) for day in days]
    assert [len(group.parts) for group in plan([segment(0, *many)])] == [3, 2]
    assert plan([segment(0)]) == []


rows_by_day = st.dictionaries(st.sampled_from(["2026-01-01", "2026-01-02", None]), st.integers(1, 9), min_size=1)
chunks = st.lists(st.tuples(st.integers(1, WINDOW_BYTES), rows_by_day), max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(chunks, min_size=1, max_size=3), st.integers(1, WINDOW_BYTES))
def test_every_row_is_read_by_exactly_one_part(drawn: list[list[tuple[int, dict[str | None, int]]]], size: int) -> None:
    """The pieces of all groups are all rows, each in one part of its day, and a window's bytes are bounded."""
    segments = [segment(number, *each) for number, each in enumerate(drawn)]
    read: dict[tuple[int, int, int, str | None], int] = {}
    for group in plan(segments, part_bytes=size):
        for window in windows(segments, group, by_hash=False):
            first = window[0].chunk.offset, window[0].segment
            if any((piece.chunk.offset, piece.segment) != first for piece in window) and len(group.parts) == 1:
                assert sum(piece.chunk.length for piece in window) <= WINDOW_BYTES
            for piece in window:
                day, at = group.parts[piece.part].date, piece.start
                for row in range(at, at + piece.rows):
                    place = (piece.segment, piece.chunk.offset, row, day)
                    read[place] = read.get(place, 0) + 1
    assert set(read.values()) <= {1}
    assert len(read) == sum(chunk.rows for each in segments for chunk in each.chunks)


def manifest(version: int, generation: int, load_type: LoadType) -> LoadManifest:
    """A manifest as far as generations go."""
    return LoadManifest(
        pipeline="shop.orders",
        version=version,
        generation=generation,
        run_id="r",
        load_type=load_type,
        run_date="2026-03-01",
        ingestion_ts="2026-03-01T00:00:00+00:00",
        ingestion_id="i",
        bucket="b",
        fields=[],
        segments=[],
        groups=[],
    )


def test_generations() -> None:
    """A full load starts one, increments belong to the last, and loads of keys neither start nor interrupt any."""
    assert generation_of(LoadType.FULL, 5, manifest(4, 1, LoadType.INCREMENTAL)) == 5
    assert generation_of(LoadType.INCREMENTAL, 5, manifest(4, 2, LoadType.INCREMENTAL)) == 2
    assert generation_of(LoadType.KEYS, 5, manifest(4, 2, LoadType.FULL)) == 2
    assert generation_of(LoadType.INCREMENTAL, 6, manifest(5, 2, LoadType.KEYS)) == 2
    assert generation_of(LoadType.INCREMENTAL, 1, None) == 1
    assert generation_of(LoadType.INCREMENTAL, 2, manifest(1, 1, LoadType.KEYS)) == 2


def test_shares_add_up_over_groups() -> None:
    """What groups took of a segment is summed."""
    results = [
        GroupResult(parts=[], segments={"a": SegmentShare(merged=1), "b": SegmentShare(duplicates=2)}),
        GroupResult(parts=[], segments={"a": SegmentShare(merged=3, duplicates=1)}),
    ]
    assert shares_of(results) == {"a": SegmentShare(merged=4, duplicates=1), "b": SegmentShare(duplicates=2)}


def test_the_id_of_an_ingestion_is_stable() -> None:
    """It is a function of the run's name, so that parts written again are the same."""
    assert ingestion_id("r1") == ingestion_id("r1") != ingestion_id("r2")
    assert ingestion_id("r1") == "2d2140ac-0147-5855-b149-33d2953ea769"
