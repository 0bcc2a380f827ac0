"""The correctness properties of the event log on the flow from uploaded file to checkpoint, over the fakes."""

from collections import Counter
from datetime import datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import VisitEvent
from contracts.runs import RunState, ScanPayload, ScanResponse
from services.console.demo.visit_events import Expected, Upload, generate
from tests.property.event_log_data import events, few_moments, few_visits, file_name, meeting_events, spellings
from tests.property.event_log_world import CHECKPOINTS, PIPELINE, RAW, World, count, play

HUNDRED = settings(max_examples=100, deadline=None)


# Feature: event-log-scraper, Property 0: Incremental checkpoint correctness
@HUNDRED
@given(batches=st.lists(st.lists(meeting_events, max_size=6), min_size=1, max_size=4))
def test_a_checkpoint_holds_everything_that_ever_came(batches: list[list[VisitEvent]]) -> None:
    """After each scan: all earlier rows and all new ones, equal and late ones included, and none twice."""

    async def run() -> None:
        world, arrived = World(), list[VisitEvent]()
        for batch in batches:
            for event in batch:
                await world.put(file_name(event, len(arrived)), event.model_dump_json().encode())
                arrived.append(event)
            ended = await world.scan()
            assert ended.state is RunState.SUCCEEDED
            assert count(world.merged()) == count(arrived)
        assert (await world.scan()).scan.dispatched == 0
        assert count(world.merged()) == count(arrived)

    play(run())


# Feature: event-log-scraper, Property 2: JSON retrieval completeness
@HUNDRED
@given(data=st.data(), written=st.lists(st.tuples(events(), st.integers(0, 2)), max_size=5))
def test_every_version_of_every_file_is_read_completely(
    data: st.DataObject, written: list[tuple[VisitEvent, int]]
) -> None:
    """However a producer spells an event, and though a later version replaced it, no field of it is lost."""

    async def run() -> None:
        world = World()
        for event, number in written:
            name = f"log-submit-20240115-100000-{number}-some-project-ABC-01.json"
            await world.put(name, data.draw(spellings(event)))
        await world.scan()
        assert world.quarantined() == []
        assert count(world.merged()) == count(event for event, _ in written)

    play(run())


# Feature: event-log-scraper, Property 3: Timestamp filtering correctness
@HUNDRED
@given(arrived=st.lists(meeting_events, max_size=8), cutoff=few_moments)
def test_since_timestamp_keeps_strictly_newer_events(arrived: list[VisitEvent], cutoff: datetime) -> None:
    """An explicit cutoff leaves out what is not strictly newer, for this run only: the next scan brings it in."""

    async def run() -> None:
        world = World()
        for number, event in enumerate(arrived):
            await world.put(file_name(event, number), event.model_dump_json().encode())
        assert (await world.scan(ScanPayload(since_timestamp=cutoff))).state is RunState.SUCCEEDED
        assert count(world.merged()) == count(event for event in arrived if event.timestamp > cutoff)
        assert (await world.scan()).state is RunState.SUCCEEDED
        assert count(world.merged()) == count(arrived)

    play(run())


# Feature: event-log-scraper, Property 4: Error resilience in retrieval
@HUNDRED
@given(files=st.lists(st.tuples(meeting_events, st.booleans()), max_size=8))
def test_files_that_vanish_do_not_stop_the_others(files: list[tuple[VisitEvent, bool]]) -> None:
    """Objects gone between listing and reading are quarantined with their key; the rest is merged."""

    async def run() -> None:
        world, lost = World(), set[str]()
        for number, (event, vanishes) in enumerate(files):
            key = (await world.put(file_name(event, number), event.model_dump_json().encode())).key
            if vanishes:
                lost.add(key)
        run_id = await world.plan()
        for key in lost:
            del world.objects.buckets[RAW].keys[key]
        await world.work()
        assert count(world.merged()) == count(event for event, vanishes in files if not vanishes)
        assert {(key, reason) for key, reason, _ in world.quarantined()} == {(key, "object-missing") for key in lost}
        ended = await world.ledger.run(run_id)
        assert ended is not None
        assert ended.state is RunState.SUCCEEDED

    play(run())


# Feature: event-log-scraper, Property 9: Parquet round-trip
@HUNDRED
@given(arrived=st.lists(events(), min_size=1, max_size=6))
def test_the_checkpoint_preserves_values_and_types(arrived: list[VisitEvent]) -> None:
    """Columns, their order and their types are those of the specification, and every value comes back."""

    async def run() -> None:
        world = World()
        for number, event in enumerate(arrived):
            await world.put(file_name(event, number), event.model_dump_json().encode())
        await world.scan()
        frame = world.rows()
        assert frame is not None
        expected: dict[str, pl.DataType] = {name: pl.String() for name in VisitEvent.model_fields}
        expected["pipeline_adcid"], expected["visit_date"] = pl.Int32(), pl.Date()
        expected["timestamp"] = pl.Datetime("us", "UTC")
        assert list(frame.schema.items()) == list(expected.items())
        assert count(world.merged()) == count(arrived)

    play(run())


# Feature: event-log-scraper, Property 10: Output path correctness
@HUNDRED
@given(
    arrived=st.lists(meeting_events, max_size=4),
    key=st.none() | st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9 +_.-]{1,8}){0,3}\.parquet", fullmatch=True),
)
def test_the_response_names_the_checkpoint(arrived: list[VisitEvent], key: str | None) -> None:
    """The caller gets the s3:// path of the object that holds exactly the events, and the right counts."""

    async def run() -> None:
        world = World()
        for number, event in enumerate(arrived):
            await world.put(file_name(event, number), event.model_dump_json().encode())
        ended = await world.scan(ScanPayload(checkpoint_key=key))
        where = key or PIPELINE.target.key
        answer = await world.response(ended, f"{CHECKPOINTS}/{where}")
        assert isinstance(answer, ScanResponse)
        assert answer.status_code == 200
        assert answer.checkpoint_path == f"s3://{CHECKPOINTS}/{where}"
        assert answer.new_events_processed == answer.total_events == len(arrived)
        assert answer.events_failed == 0
        assert count(world.merged(key=where)) == count(arrived)
        newest = max((event.timestamp.isoformat() for event in arrived), default=None)
        assert answer.last_processed_timestamp == newest

    play(run())


uploads = st.builds(
    lambda seed, size: generate(seed, size, share_bad=0.3, share_foreign=0.1, share_repeated=0.1, share_sandbox=0.2),
    st.integers(0, 2**32),
    st.integers(1, 25),
)


# Feature: event-log-scraper, Property 14: Partial failure handling
@HUNDRED
@given(files=uploads)
def test_bad_files_do_not_stop_the_good_ones(files: list[Upload]) -> None:
    """Valid rows are merged, bad ones quarantined with key, reason and errors, and the run adds up."""

    async def run() -> None:
        world = World()
        for upload in files:
            await world.put(upload.name, upload.body)
        ended = await world.scan()
        good = [VisitEvent.model_validate_json(upload.body) for upload in files if upload.expected == "merged"]
        bad = [(f"events/{upload.name}", upload.reason) for upload in files if upload.expected == "quarantined"]
        assert ended.state is RunState.SUCCEEDED
        assert count(world.merged()) == count(good)
        assert Counter((key, reason) for key, reason, _ in world.quarantined()) == Counter(bad)
        assert all(errors for _, _, errors in world.quarantined())
        assert ended.scan.ignored == Expected.of(files).ignored

    play(run())


# Feature: event-log-scraper, Property 15: Event evolution preservation
@HUNDRED
@given(data=st.data(), arrived=st.lists(meeting_events, min_size=1, max_size=8))
def test_every_step_of_a_visit_is_kept(data: st.DataObject, arrived: list[VisitEvent]) -> None:
    """Announced in any order, some of them again and again: each file is one row with its own timestamp."""

    async def run() -> None:
        world = World()
        objects = [
            await world.put(file_name(event, number), event.model_dump_json().encode())
            for number, event in enumerate(arrived)
        ]
        repeated = data.draw(st.lists(st.sampled_from(objects), max_size=6))
        order = data.draw(st.permutations([*objects, *repeated]))
        cut = data.draw(st.integers(0, len(order)))
        for part in (order[:cut], order[cut:]):
            await world.announce(part)
        assert count(world.merged()) == count(arrived)
        assert (await world.scan()).scan.dispatched == 0

    play(run())


# Feature: event-log-scraper, Property 16: Timestamp ordering
@HUNDRED
@given(batches=st.lists(st.lists(events(visits=few_visits), min_size=1, max_size=5), min_size=1, max_size=4))
def test_the_checkpoint_is_sorted_by_timestamp(batches: list[list[VisitEvent]]) -> None:
    """After every merge, whatever came late; so the last row of a visit is its most recent event."""

    async def run() -> None:
        world, arrived = World(), list[VisitEvent]()
        for batch in batches:
            for event in batch:
                await world.put(file_name(event, len(arrived)), event.model_dump_json().encode())
                arrived.append(event)
            await world.scan()
            moments = [event.timestamp for event in world.merged()]
            assert moments == sorted(event.timestamp for event in arrived)
        last = {(e.ptid, e.visit_date, e.visit_number): e.timestamp for e in world.merged()}
        for event in arrived:
            assert event.timestamp <= last[event.ptid, event.visit_date, event.visit_number]

    play(run())


# Feature: event-log-scraper, Property 18: Logging completeness
@HUNDRED
@given(files=uploads)
def test_logs_hold_the_counts_and_every_error_with_its_source(files: list[Upload]) -> None:
    """One line a segment with what came in and what became of it; one line a bad file with its errors."""

    async def run() -> None:
        world = World()
        for upload in files:
            await world.put(upload.name, upload.body)
        await world.scan()

    lines = play(run())
    totals = Expected.of(files)
    summaries = [line for line in lines if line["event"] == "segment validated"]
    assert sum(line["received"] for line in summaries) == len(files) - totals.ignored
    assert sum(line["valid"] for line in summaries) == totals.merged + totals.filtered
    assert sum(line["quarantined"] for line in summaries) == sum(totals.quarantined.values())
    reported = Counter((line["source"], line["reason"]) for line in lines if line["event"] == "quarantined")
    bad = [upload for upload in files if upload.expected == "quarantined"]
    assert reported == Counter((f"s3://{RAW}/events/{upload.name}", upload.reason) for upload in bad)
    assert all(line["errors"] for line in lines if line["event"] == "quarantined")
