"""What services report of known work, number by number."""

from collections import defaultdict
from datetime import UTC, datetime

from contracts.runs import RunMode
from services.console.demo.visit_events import generate
from tests.fakes.telemetry import Point
from tests.property.event_log_world import PIPELINE, World
from tests.unit.planner.collecting import World as CollectingWorld

BAD = "log-submit-20250101-000000-1-project-ABC-v1.json"
"""Named like an event's file; what is put there is none."""
SEED = ("NewEventsProcessed", "TotalEvents", "EventsFailed", "ExecutionTime", "CheckpointFileSize", "IncrementalRun")


def values(points: list[Point], pipeline: str = PIPELINE.name) -> dict[str, list[float]]:
    """Values of each metric of a pipeline, in order; no run is a dimension."""
    found: dict[str, list[float]] = defaultdict(list)
    for point in points:
        assert "run_id" not in dict(point.dimensions)
        if dict(point.dimensions).get("pipeline") == pipeline:
            found[point.name].append(point.value)
    return found


async def scanned(world: World) -> dict[str, list[float]]:
    """What a whole scan reports."""
    world.telemetry.published.clear()
    await world.scan()
    return values(world.telemetry.published)


async def test_an_event_log_reports_its_six_metrics() -> None:
    """A first scan of three events and a bad one, then a second with one more: by their names and with their values."""
    world = World()
    *events, late = sample(4)
    for name, body in events:
        await world.put(name, body)
    await world.put(BAD, b"{}")
    first = await scanned(world)
    assert {name: first[name] for name in SEED[:3]} == {
        "NewEventsProcessed": [3],
        "TotalEvents": [3],
        "EventsFailed": [1],
    }
    assert (first["IncrementalRun"], len(first["ExecutionTime"])) == ([0], 1)
    assert first["CheckpointFileSize"][0] > 0
    assert "WatermarkLag" not in first, "there was no watermark to be behind"
    await world.put(*late)
    second = await scanned(world)
    assert {name: second[name] for name in SEED[:3]} == {
        "NewEventsProcessed": [1],
        "TotalEvents": [4],
        "EventsFailed": [0],
    }
    assert second["IncrementalRun"] == [1]
    assert all(lag < 60 for lag in second["WatermarkLag"])
    assert ("commit", "put") in world.telemetry.segments


async def test_rows_are_counted_at_every_service() -> None:
    """In, out, quarantined and again: what a scan lists, judges and merges, and what comes a second time."""
    world = World()
    infos = [await world.put(name, body) for name, body in sample(3)]
    await world.put(BAD, b"{}")
    planned, validated, merged = 4, 4, 3
    found = await scanned(world)
    assert found["RowsIn"] == [planned, validated, merged]
    assert found["RowsOut"] == [4, 3, 3]
    assert found["RowsQuarantined"] == [1]
    assert found["Duplicates"] == [0, 0, 0]
    world.telemetry.published.clear()
    await world.announce([infos[0], infos[0], infos[1]])
    again = values(world.telemetry.published)
    assert (again["RowsIn"], again["RowsOut"]) == ([3, 2], [2, 0])
    assert again["Duplicates"] == [1, 2], "one announcement twice, and two rows that were merged before"


async def test_every_planned_run_says_how_far_behind_it_starts() -> None:
    """From the second run on, by the watermark that the first one moved; a dry run reports nothing."""
    world = CollectingWorld()
    world.publish("2025-12-10T10", ["a"])
    await world.run()
    assert "WatermarkLag" not in values(world.telemetry.published, "requests")
    world.telemetry.published.clear()
    await world.preview(RunMode.SCAN)
    assert world.telemetry.published == []
    watermark = await world.watermarks.read(world.pipeline.watermark)
    assert watermark is not None
    assert watermark.cursor is not None
    reached = datetime.fromisoformat(watermark.cursor).replace(tzinfo=UTC)
    started = world.clock.now()
    await world.run()
    (lag,) = values(world.telemetry.published, "requests")["WatermarkLag"]
    assert lag == (started - reached).total_seconds()


def sample(count: int) -> list[tuple[str, bytes]]:
    """Names and bodies of good events that differ."""
    uploads = generate(7, count, share_bad=0, share_foreign=0, share_repeated=0, share_late=0, share_sandbox=0)
    return [(upload.name, upload.body) for upload in uploads]
