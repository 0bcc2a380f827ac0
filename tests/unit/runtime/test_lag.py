"""The lag of a watermark: measured from whatever moment its cursor names."""

from dataclasses import replace

import pytest

from services.runtime.lag import LagMeter, moment_of
from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import FakeTelemetry, Point
from tests.unit.runtime.test_completion import NOON, W, World

HOUR = 3_600


@pytest.mark.parametrize(
    ("cursor", "seconds"),
    [
        ("2026-01-01T00:00:00+00:00", 12 * HOUR),
        ("2026-01-01T00:00:00.000", 12 * HOUR),
        ("2026-01-01T00:00:00-05:00", 7 * HOUR),
        ("2026-01-01 11:59:59.5", 0.5),
        ("2025-12-31", 36 * HOUR),
        ("2026-01-01T13:00:00", 0.0),
    ],
)
def test_lag_in_seconds(cursor: str, seconds: float) -> None:
    """A cursor without a zone counts as UTC; one ahead of the clock has no lag, but is reported."""
    telemetry, clock = FakeTelemetry(), ManualClock()
    noon = moment_of(NOON)
    assert noon is not None
    clock.advance((noon - clock.now()).total_seconds())
    LagMeter(telemetry, clock).report("visits", cursor)
    assert telemetry.pending == [Point("WatermarkLag", seconds, "Seconds", (("pipeline", "visits"),))]


@pytest.mark.parametrize("cursor", [None, "", "17", "20260101", "20260101120000", "2026-99-99", "zzzz-01-01T00:00"])
def test_a_cursor_that_is_no_moment_has_no_lag(cursor: str | None) -> None:
    """Numbers, names and nothing at all are not guessed at."""
    telemetry = FakeTelemetry()
    LagMeter(telemetry, ManualClock()).report("visits", cursor)
    assert telemetry.pending == []


async def test_a_watermark_that_moves_is_measured() -> None:
    """Once it has moved, by the run's pipeline; a repetition that finds it moved says nothing."""
    world, telemetry = World(), FakeTelemetry()
    completion = replace(world.completion(), lag=LagMeter(telemetry, world.clock))
    await world.begin("r")
    await world.merge("r")
    for _ in range(2):
        await completion.complete("r", W)
    assert [(point.name, point.dimensions) for point in telemetry.pending] == [
        ("WatermarkLag", (("pipeline", "visit_events"),))
    ]
