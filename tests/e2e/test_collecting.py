"""Collected pipelines end to end: real processes, a real source, a real emulator."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from services.console.demo.dice import Dice
from services.console.demo.service_requests import Expected, Sample, generate
from services.runtime.settings import PROJECT
from tests.e2e.collecting import PIPELINE, REAL, SERVICES, declare, keys_of, nyc_311, output, real_rows, start
from tests.e2e.fleet import Fleet, WorkerProcess, eventually
from tests.e2e.world import World
from tests.socrata_support import DATASET, SocrataServer, socrata_server

WORKING = {"fetcher": "segment fetched", "validator": "segment validated", "merger": "committed"}
"""What each service says when it has done a part of its work."""
FILES = ("sample_18_columns.ndjson.gz", "full_columns.ndjson.gz")


@pytest.fixture
def server() -> Iterator[SocrataServer]:
    """A source of the test's own."""
    with socrata_server() as server:
        yield server


async def run(fleet: Fleet, pipeline: str = PIPELINE, **payload: Any) -> dict[str, Any]:
    """One run to its end; the response."""
    ended = await fleet.tidegate("run", pipeline, "--payload", json.dumps(payload), "--wait", "--json")
    assert ended.code == 0, ended.err
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


@pytest.mark.skipif(not REAL.is_dir(), reason="the real records are not on this machine")
async def test_every_real_record_arrives_typed(fleet: Fleet, world: World, server: SocrataServer) -> None:
    """Two years of forms: both spellings of a location are read, and each undeclared column is reported once."""
    records = real_rows(*FILES)
    server.load(records)
    declare(fleet, server, PIPELINE, nyc_311(where="", max_records=100_000))
    start(fleet)
    answer = await run(fleet, initial_lookback_days=3_650)
    assert (answer["statusCode"], answer["body"]["message"]) == (200, "Data ingestion successful")
    assert answer["body"]["records"] == len(records)
    rows = await output(world.session)
    assert sorted(rows["unique_key"]) == keys_of(records)

    located = {record["unique_key"] for record in records if "location" in record}
    forms = {frozenset(record["location"]) for record in records if "location" in record}
    assert len(forms) == 2
    found = rows.unnest("location", separator="_").filter(rows["location"].struct["latitude"].is_not_null())
    assert set(found["unique_key"]) == located
    by_key = {record["unique_key"]: record for record in records}
    for key, latitude, longitude in found.select("unique_key", "location_latitude", "location_longitude").iter_rows():
        place = by_key[key]["location"]
        given = place["coordinates"][::-1] if "coordinates" in place else (place["latitude"], place["longitude"])
        assert (latitude, longitude) == (float(given[0]), float(given[1]))

    pipeline = world.session.pipelines.get(PIPELINE)
    assert pipeline is not None
    undeclared = {name for record in records for name in record} - set(pipeline.columns)
    status = await fleet.tidegate("status", answer["body"]["run_id"], "--json")
    assert set(json.loads(status.out)["new_columns"]) == undeclared
    assert undeclared >= {":@computed_region_efsh_h5xi", "council_district", "police_precinct", "descriptor_2"}
    again = await run(fleet, initial_lookback_days=3_650, force_initial_load=True)
    assert again["body"]["records"] == 0
    status = await fleet.tidegate("status", again["body"]["run_id"], "--json")
    assert json.loads(status.out)["new_columns"] == []


async def test_a_second_dataset_is_a_second_file(fleet: Fleet, world: World, server: SocrataServer) -> None:
    """The example of the documentation, as it stands there: no code, its own output, its own watermark."""
    text = (PROJECT / "docs" / "collecting.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    today = datetime.now(UTC).date()
    rows = [
        {"camis": str(n), "inspection_date": f"{today - timedelta(days=n % 9)}T00:00:00.000", "score": str(n % 30)}
        for n in range(500)
    ]
    rows[7]["score"] = "N/A"
    server.load(rows, dataset="43nn-pn8j", key="camis")
    declare(fleet, server, "inspections", example)
    start(fleet)
    answer = await run(fleet, "inspections")
    assert answer["body"]["records"] == len(rows)
    found = await output(world.session, "inspections/")
    assert sorted(found["camis"]) == sorted(row["camis"] for row in rows)
    assert found.filter(found["camis"] == "7")["score"].to_list() == [None]
    assert found["score"].drop_nulls().sum() == sum(n % 30 for n in range(500) if n != 7)


async def test_what_the_source_refuses_fails_the_run_with_its_words(
    fleet: Fleet, world: World, server: SocrataServer
) -> None:
    """A wrong condition is the operator's to mend: one line, exit code 1, the watermark stays where it is."""
    server.load(generate={"count": 50})
    declare(fleet, server, PIPELINE, nyc_311(where="no_such_column = 1"))
    start(fleet)
    ended = await fleet.tidegate("run", PIPELINE, "--wait")
    assert ended.code == 1
    assert "no_such_column" in ended.err.splitlines()[-1]
    assert await world.session.watermarks.read("nyc_311#service_requests") is None


def _is_working(running: "asyncio.Future[Any]", worker: WorkerProcess) -> bool:
    return running.done() or bool(worker.lines(WORKING[worker.service]))


async def test_services_may_be_killed_in_the_middle_of_a_run(fleet: Fleet, world: World, server: SocrataServer) -> None:
    """Kill -9 of each service while it works, and a throttling source: nothing is lost or doubled."""
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    sample = Sample(count=12_000, start=now - timedelta(days=60), rows_per_day=200, instant_rows=900)
    server.load(generate=sample.model_dump(mode="json"))
    server.latency(30)
    server.throttle(60, burst=10)
    declare(fleet, server, PIPELINE, nyc_311(batch_size=200, segment_rows=500))
    start(fleet)
    dice = Dice(311)
    running = asyncio.ensure_future(run(fleet))
    for service in (*SERVICES[1:], *SERVICES[1:]):
        worker = next(w for w in reversed(fleet.workers) if w.service == service)
        await eventually(partial(_is_working, running, worker), f"{service} works")
        await asyncio.sleep(dice.between(0, 200) / 1_000)  # anywhere in its work
        worker.kill()
        fleet.start(service)
    answer = await running
    expected = Expected.of(generate(sample))
    assert answer["body"]["records"] == len(expected.merged)
    rows = await output(world.session)
    assert sorted(rows["unique_key"]) == sorted(expected.merged)
    asked = server.get(DATASET, select="count(*) as n", where="status in ('Open', 'In Progress')")
    assert int(asked[0]["n"]) == len(expected.merged) + len(expected.quarantined)
