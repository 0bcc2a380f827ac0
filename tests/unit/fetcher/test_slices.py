"""Slices of an entity, from the command to the raw object and the ledger, whatever happens in between."""

import asyncio
import datetime as dt
import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.runs import LoadType, RunState
from services.fetcher.config import FetcherSettings
from services.fetcher.core import slice_job_of
from services.fetcher.use_case import fetch_batch
from services.fetcher.use_case.slices import PATIENCE
from services.runtime.datasets import Block
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.ledger import Step
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.fetcher.slice_world import (
    API,
    NAME,
    RAW,
    FakeRecords,
    FakeRows,
    SliceWorld,
    batch,
    command,
    entity,
)
from tests.unit.fetcher.world import DECLARED

FIRST, SECOND = dt.date(2025, 2, 20), dt.date(2025, 2, 21)
ROWS = [
    batch([{"order_id": 1, "ordered_on": SECOND}, {"order_id": 2}, {"order_id": 3, "ordered_on": FIRST}]),
    batch([{"order_id": 4, "ordered_on": FIRST, "note": "x"}]),
]


@pytest.fixture
def world(tmp_path: Path) -> SliceWorld:
    """A source with four rows."""
    return SliceWorld(tmp_path, FakeRows(*ROWS))


async def test_a_slice_becomes_a_landing_file(world: SliceWorld) -> None:
    """Its rows are sorted by event date; object, trailer and ledger say the same of it."""
    await world.begin()
    asked = command(after=["0"], upto=["9"], expected=3)
    assert not (await world.fetch(asked)).failed
    landing, table = world.landed()
    assert table.column("order_id").to_pylist() == [3, 4, 1, 2]
    assert [(day.date, day.rows) for chunk in landing.chunks for day in chunk.days] == [
        ("2025-02-20", 2),
        ("2025-02-21", 1),
        (None, 1),
    ]
    assert (landing.slice, landing.fields, landing.load_type) == (asked.slice, asked.fields, LoadType.FULL)
    assert (landing.pipeline, landing.run_id, landing.segment_id) == (NAME, "run-1", "s1")
    entry = await world.entry()
    location = f"{RAW}/raw/2025/02/21/{NAME}/run-1/s1.land"
    assert (entry.step, entry.fetched, entry.raw_location) == (Step.FETCHED, 4, location)
    assert world.left_over() == []


async def test_an_empty_slice_has_an_object(world: SliceWorld) -> None:
    """A slice without rows is fetched like any other."""
    world.rows = FakeRows()
    await world.begin()
    assert not (await world.fetch()).failed
    landing, _ = world.landed()
    assert (landing.rows, landing.chunks) == (0, [])
    assert (await world.entry()).fetched == 0


async def test_a_redelivery_reads_nothing(world: SliceWorld) -> None:
    """The object that is there stands, whatever the source would say by now."""
    await world.begin()
    await world.fetch()
    later = FakeRows()
    world.rows = later
    assert not (await world.fetch(receives=2)).failed
    assert (later.reads, (await world.entry()).fetched) == (0, 4)


async def test_death_at_any_place(tmp_path: Path) -> None:
    """Whichever effect was the last, the next delivery leaves one object and the ledger's entry."""
    places = 0
    for kill_at in [*range(1, 20)]:
        world = SliceWorld(tmp_path, FakeRows(*ROWS))
        await world.begin()
        switch = KillSwitch(kill_at)
        try:
            await world.fetch(effects=Effects(switch))
        except KilledError:
            places += 1
        assert world.left_over() == []
        assert not (await world.fetch(receives=2)).failed
        assert world.landed()[1].num_rows == 4
        assert (await world.entry()).fetched == 4
        if not switch.dead:
            break
    assert places >= 4


async def test_another_delivery_was_faster(world: SliceWorld) -> None:
    """Who finds at the put that the object is there enters the rows of that one."""
    await world.begin()

    class Meanwhile(FakeRows):
        async def read(self, pipeline, command):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            other = SliceWorld(world.spool, FakeRows(ROWS[1]))
            other.objects, other.ledger = world.objects, world.ledger
            await other.fetch()
            async for each in super().read(pipeline, command):
                yield each

    world.rows = Meanwhile(*ROWS)
    assert not (await world.fetch()).failed
    assert world.landed()[1].column("order_id").to_pylist() == [4]
    assert (await world.entry()).fetched == 1


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.SUCCEEDED])
async def test_a_run_that_is_over(world: SliceWorld, state: RunState) -> None:
    """Nothing is read for it."""
    await world.begin(state)
    assert not (await world.fetch()).failed
    assert world.stored() is None
    assert isinstance(world.rows, FakeRows)
    assert world.rows.reads == 0


async def test_a_source_that_breaks_off(world: SliceWorld) -> None:
    """What was read so far is dropped, the command comes back, and the source is left alone at once."""
    rows = FakeRows(ROWS[0], TemporaryError("it broke off", delay=7))
    world.rows = rows
    await world.begin()
    outcome = await world.fetch()
    assert (outcome.delays, outcome.reasons) == ({"s1": 7}, {"s1": "it broke off"})
    assert (world.stored(), world.left_over(), rows.closed) == (None, [], 1)


async def test_a_source_that_stays_away(world: SliceWorld) -> None:
    """After so many deliveries its run fails with the source's words."""
    world.rows = FakeRows(TemporaryError("it does not answer"))
    await world.begin()
    assert (await world.fetch(receives=PATIENCE - 1)).failed
    assert not (await world.fetch(receives=PATIENCE)).failed
    run = await world.run()
    assert run.state is RunState.FAILED
    assert run.reason == f"it does not answer (tried {PATIENCE} times)"


async def test_a_store_that_stays_away_is_not_the_sources_fault(world: SliceWorld) -> None:
    """However often the object cannot be put, the run goes on."""
    await world.begin()

    def fail(place: str) -> None:
        if place.startswith("before put"):
            raise TemporaryError("SlowDown")

    outcome = await world.fetch(receives=99, effects=Effects(fail))
    assert outcome.reasons == {"s1": "SlowDown"}
    assert (await world.run()).state is RunState.RUNNING


async def test_a_source_that_refuses(world: SliceWorld) -> None:
    """Its run fails at once; another delivery of the failed run is skipped."""
    world.rows = FakeRows(ROWS[0], PermanentError("no such column"))
    await world.begin()
    assert not (await world.fetch()).failed
    run = await world.run()
    assert (run.state, run.reason) == (RunState.FAILED, "no such column")
    assert world.left_over() == []
    assert not (await world.fetch(receives=2)).failed


async def test_a_run_nobody_opened(world: SliceWorld) -> None:
    """A refusal has no run to fail, so the DLQ must show it."""
    world.rows = FakeRows(PermanentError("no such column"))
    assert (await world.fetch()).reasons == {"s1": "no such column"}


async def test_an_event_date_that_is_none(tmp_path: Path) -> None:
    """A field that is neither a date nor a timestamp cannot date rows."""
    world = SliceWorld(tmp_path, FakeRows(), pipeline=entity(event_date="note"))
    await world.begin()
    await world.fetch()
    assert "event date 'note' is neither a date nor a timestamp" in ((await world.run()).reason or "")


async def test_records_become_lines(tmp_path: Path) -> None:
    """An API's records are kept as their own JSON text, gzip-compressed."""
    records = FakeRecords(
        Block(b'{"order_id":1.10}\n{"order_id":2}\n', 2), Block(b"", 0), Block(b'{"order_id":3}\n', 1)
    )
    world = SliceWorld(tmp_path, pipeline=entity(**API), records=records)
    await world.begin()
    assert not (await world.fetch()).failed
    found = world.stored(suffix="json.gz")
    assert found is not None
    assert gzip.decompress(found.body) == b'{"order_id":1.10}\n{"order_id":2}\n{"order_id":3}\n'
    assert found.info.metadata == {"tidegate-rows": "3"}
    entry = await world.entry()
    assert (entry.fetched, entry.raw_location) == (3, f"{RAW}/{found.info.key}")


async def test_an_api_that_breaks_off(tmp_path: Path) -> None:
    """Nothing of a part of the records is kept."""
    records = FakeRecords(Block(b"{}\n", 1), TemporaryError("429", delay=60))
    world = SliceWorld(tmp_path, pipeline=entity(**API), records=records)
    await world.begin()
    assert (await world.fetch()).delays == {"s1": 60}
    assert world.objects.puts == []


async def test_a_kind_that_is_not_read_here(tmp_path: Path) -> None:
    """Where a reader is missing the run fails and says which."""
    world = SliceWorld(tmp_path, pipeline=entity(kind="snowflake"))
    await world.begin()
    await world.fetch()
    assert (await world.run()).reason == f"pipeline {NAME}: sources of kind snowflake are not read here"


def test_a_pipeline_without_an_entity() -> None:
    """It has no slices."""
    with pytest.raises(BadDeclarationError, match="nyc_311 lands no entity"):
        slice_job_of(command().model_copy(update={"pipeline": "nyc_311"}), DECLARED, RAW)
    with pytest.raises(BadDeclarationError, match=r"there is no pipeline 'shop\.orders' here"):
        slice_job_of(command(), DECLARED, RAW)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for very little."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


async def test_a_disk_that_is_full(tiny_disk: Path) -> None:
    """The command comes back with the folder's name, nothing is left, and the next attempt has all the room."""
    big = batch([{"order_id": n, "note": os.urandom(20).hex()} for n in range(5_000)])
    world = SliceWorld(tiny_disk, FakeRows(big))
    await world.begin()
    outcome = await world.fetch(receives=50)
    assert "No space left" in outcome.reasons["s1"]
    assert str(tiny_disk) in outcome.reasons["s1"]
    assert world.stored() is None
    assert world.left_over() == []
    world.rows = FakeRows(*ROWS)
    assert not (await world.fetch(receives=51)).failed
    assert world.landed()[1].num_rows == 4


async def test_few_slices_are_read_at_a_time(world: SliceWorld) -> None:
    """However many commands one process has, two of them hold rows."""
    most = reading = 0

    class Slow(FakeRows):
        async def read(self, pipeline, command):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            nonlocal most, reading
            reading += 1
            most = max(most, reading)
            async for each in super().read(pipeline, command):
                await asyncio.sleep(0)
                yield each
            reading -= 1

    world.rows = Slow(*ROWS)
    segments = [f"s{n}" for n in range(6)]
    await world.begin(RunState.RUNNING, *segments)
    assert not (await world.fetch(*(command(segment_id=segment) for segment in segments))).failed
    assert most == 2
    assert [world.landed(segment)[1].num_rows for segment in segments] == [4] * 6


def test_where_files_are_spooled(tmp_path: Path) -> None:
    """In the system's folder for temporary files, or where the setting says; it must be there."""
    assert FetcherSettings.read({"TIDEGATE_SPOOL_DIR": str(tmp_path)}).spool == tmp_path
    assert FetcherSettings.read({}).spool.is_dir()
    with pytest.raises(BadDeclarationError, match="TIDEGATE_SPOOL_DIR"):
        FetcherSettings.read({"TIDEGATE_SPOOL_DIR": str(tmp_path / "absent")})


def test_the_use_case_is_found_where_it_was() -> None:
    """Shells import it from the folder."""
    assert fetch_batch.__module__ == "services.fetcher.use_case.batch"
