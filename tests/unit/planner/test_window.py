"""What a collecting run reads and may claim: modes, lower ends, frontiers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from contracts.runs import CollectPayload, RunMode, RunState
from contracts.sources import SocrataSource
from services.planner.core.floating import (
    day_before,
    earliest_anywhere,
    hours_before,
    just_after,
)
from services.planner.core.window import (
    Claim,
    Standing,
    Window,
    claim_of,
    is_from_the_future,
    mode_of,
    occupant,
    snooze_s,
    window_of,
)
from services.runtime.failures import MalformedError
from services.runtime.ledger import Run
from services.runtime.watermarks import Watermark

SOURCE = SocrataSource(
    kind="socrata", dataset="abcd-1234", cursor="c", unique_key="k", lag_hours=48, initial_lookback_days=365
)
NOW = datetime(2025, 3, 10, 3, tzinfo=UTC)
CURSOR, COMPLETE = "2025-03-09T22:00:00.000", "2025-03-08T01:00:00.000"
FORCE = CollectPayload(force_initial_load=True)


def at(cursor: str | None, complete_until: str | None = None, version: int = 3) -> Watermark:
    """A watermark that stands there."""
    return Watermark("w", cursor, version, "earlier", NOW.isoformat(), complete_until)


def forced(days: int | None = None) -> CollectPayload:
    """A forced load that looks back so far."""
    return CollectPayload(force_initial_load=True, initial_lookback_days=days)


@pytest.mark.parametrize(
    ("payload", "cursor", "mode"),
    [
        (CollectPayload(), None, RunMode.INITIAL),
        (forced(730), None, RunMode.INITIAL),
        (CollectPayload(), CURSOR, RunMode.INCREMENTAL),
        (CollectPayload(initial_lookback_days=730), CURSOR, RunMode.INCREMENTAL),
        (forced(), CURSOR, RunMode.INITIAL),
        (forced(365), CURSOR, RunMode.INITIAL),
        (forced(30), CURSOR, RunMode.INITIAL),
        (forced(366), CURSOR, RunMode.BACKFILL),
    ],
)
def test_the_mode(payload: CollectPayload, cursor: str | None, mode: RunMode) -> None:
    """Without a watermark a run is initial; forced it is, too, unless it looks further back than declared."""
    assert mode_of(SOURCE, payload, cursor) is mode


def test_an_initial_run_starts_with_a_day() -> None:
    """The look-back is counted in whole days, from the payload or as declared."""
    assert window_of(SOURCE, CollectPayload(), Standing(), NOW).start == "2024-03-10T00:00:00.000"
    window = window_of(SOURCE, CollectPayload(initial_lookback_days=1), Standing(at(None)), NOW)
    assert window == Window(RunMode.INITIAL, "2025-03-09T00:00:00.000", "2025-03-09T00:00:00.000", None)


def test_an_incremental_run_starts_where_nothing_can_come_late() -> None:
    """That is known from the run before; else it is the cursor less the lag. Up to the cursor it reads again."""
    window = window_of(SOURCE, CollectPayload(), Standing(at(CURSOR, COMPLETE)), NOW)
    assert (window.start, window.known) == (COMPLETE, CURSOR)
    window = window_of(SOURCE, CollectPayload(), Standing(at(CURSOR)), NOW)
    assert (window.start, window.known) == ("2025-03-07T22:00:00.000", CURSOR)


def test_a_deleted_mirror_starts_over() -> None:
    """Whatever the watermark says."""
    standing = Standing(at(CURSOR, COMPLETE), mirror_deleted=True)
    window = window_of(SOURCE, CollectPayload(), standing, NOW)
    assert (window.mode, window.start, window.known) == (RunMode.INITIAL, "2024-03-10T00:00:00.000", None)
    assert claim_of(SOURCE, window, standing, CURSOR, CURSOR, NOW).frontier == CURSOR


@pytest.mark.parametrize(
    ("resume", "from_", "start"),
    [
        ("2024-06-01T10:00:00.000", "2024-03-09T00:00:00.000", "2024-06-01T10:00:00.000"),
        ("2024-03-10T00:00:00.000", "2024-03-10T00:00:00.000", "2024-03-10T00:00:00.000"),
        ("2024-03-09T23:59:59.999", "2024-03-09T00:00:00.000", None),
        ("2024-06-01T10:00:00.000", "2024-03-11T00:00:00.000", None),
        ("2024-06-01T10:00:00.000", None, None),
        (None, None, None),
    ],
)
def test_a_forced_load_goes_on_where_an_earlier_one_was_stopped(
    resume: str | None, from_: str | None, start: str | None
) -> None:
    """If that one was asked for all this one is asked for; the place itself is read again, but no new ground."""
    standing = Standing(at(CURSOR), None if resume is None else at(resume), from_)
    window = window_of(SOURCE, FORCE, standing, NOW)
    assert window.start == (start or "2024-03-10T00:00:00.000")
    assert (window.known, window.asked_from) == (start, "2024-03-10T00:00:00.000")


def test_without_a_watermark_a_forced_load_goes_on_nowhere() -> None:
    """Everything starts over, so the place of an earlier one means nothing."""
    standing = Standing(at(None), at("2024-06-01T10:00:00.000"), "2020-01-01T00:00:00.000")
    assert window_of(SOURCE, FORCE, standing, NOW).start == "2024-03-10T00:00:00.000"


def claim(payload: CollectPayload, standing: Standing, end: str | None, newest: str | None, **source: Any) -> Claim:
    """What a run may claim that reads as the payload says."""
    declared = SOURCE.model_copy(update=source)
    return claim_of(declared, window_of(declared, payload, standing, NOW), standing, end, newest, NOW)


def test_an_incremental_run_moves_the_watermark_to_its_end() -> None:
    """What is older than the newest row by more than the lag is complete; never less than what was complete before."""
    newest = "2025-03-09T23:30:00.000"
    assert claim(CollectPayload(), Standing(at(CURSOR)), newest, newest) == Claim(newest, "2025-03-07T23:30:00.000")
    assert claim(CollectPayload(), Standing(at(CURSOR, COMPLETE)), newest, newest) == Claim(newest, COMPLETE)
    young = claim(CollectPayload(), Standing(at(CURSOR, COMPLETE)), newest, newest, lag_hours=2)
    assert young.complete_until == "2025-03-09T21:30:00.000"


def test_a_run_that_was_cut_far_in_the_past_is_complete_to_its_end() -> None:
    """The literal end: the next run starts exactly there."""
    end = "2025-01-01T10:00:00.0"
    assert claim(CollectPayload(), Standing(), end, CURSOR) == Claim(end, end)
    place = Standing(at("2024-12-01T00:00:00.000", "2024-12-01T00:00:00.000"))
    assert claim(CollectPayload(), place, end, CURSOR) == Claim(end, end)


def test_a_watermark_does_not_follow_rows_that_are_withdrawn() -> None:
    """The newest row may be older than the watermark."""
    older = "2025-03-09T20:00:00.000"
    assert claim(CollectPayload(), Standing(at(CURSOR, COMPLETE)), older, older) == Claim(CURSOR, COMPLETE)


def test_nothing_to_read_proves_nothing_new() -> None:
    """An incremental run confirms where the watermark stands; others leave it alone."""
    assert claim(CollectPayload(), Standing(at(CURSOR, COMPLETE)), None, None) == Claim(CURSOR, COMPLETE)
    assert claim(CollectPayload(), Standing(), None, CURSOR) == Claim(None, None)
    assert claim(FORCE, Standing(at(CURSOR, COMPLETE)), None, CURSOR) == Claim(None, COMPLETE)


@pytest.mark.parametrize(
    ("standing", "end", "frontier"),
    [
        pytest.param(Standing(at(CURSOR, COMPLETE)), "2025-03-09T22:00:00.001", "2025-03-09T22:00:00.001", id="beyond"),
        pytest.param(Standing(at(CURSOR, COMPLETE)), CURSOR, None, id="as-far"),
        pytest.param(Standing(at(CURSOR, COMPLETE)), "2024-08-01T00:00:00.000", None, id="not-as-far"),
        pytest.param(Standing(at("2024-03-11T23:00:00.000")), "2025-01-01T00:00:00.000", None, id="gap-before-the-lag"),
        pytest.param(
            Standing(at("2024-03-12T00:00:00.000")), "2025-01-01T00:00:00.000", "2025-01-01T00:00:00.000", id="no-gap"
        ),
        pytest.param(
            Standing(at(CURSOR, "2024-03-09T23:59:59.999")),
            "2025-04-01T00:00:00.000",
            None,
            id="gap-in-what-is-complete",
        ),
    ],
)
def test_a_forced_load_moves_the_watermark_only_forward_and_without_a_gap(
    standing: Standing, end: str, frontier: str | None
) -> None:
    """It starts at 2024-03-10; what the watermark has not proven before that stays unproven."""
    assert claim(FORCE, standing, end, "2025-04-01T00:00:00.000").frontier == frontier


def test_a_row_from_the_future_completes_nothing() -> None:
    """The frontier may follow it, but what is published late until then must still be read."""
    wild = "9999-12-31T00:00:00.000"
    assert claim(CollectPayload(), Standing(at(CURSOR)), wild, wild) == Claim(wild, "2025-03-07T15:00:00.000")
    assert is_from_the_future("2025-03-10T17:00:00.001", NOW)
    assert not is_from_the_future("2025-03-10T17:00:00.000", NOW)
    assert earliest_anywhere(NOW.astimezone(timezone(timedelta(hours=9)))) == "2025-03-09T15:00:00.000"


def test_floating_arithmetic_knows_no_daylight_saving() -> None:
    """A day of the source has 24 hours, always; what is computed has three decimals."""
    assert hours_before("2025-03-09T03:30:00.000", 1) == "2025-03-09T02:30:00.000"  # an hour New York did not have
    assert hours_before("2025-03-01T00:00:00", 24) == "2025-02-28T00:00:00.000"
    assert hours_before("0001-01-01T05:00:00.000", 48) == "0001-01-01T00:00:00.000"
    assert just_after("2025-03-09T03:30:00.999") == "2025-03-09T03:30:01.000"
    assert just_after("2025-03-09T03:30:00") == "2025-03-09T03:30:00.001"
    assert just_after("2025-03-09T03:30:00.000007") == "2025-03-09T03:30:00.000008"
    assert day_before(NOW, 10_000_000) == "0001-01-01T00:00:00.000"


@pytest.mark.parametrize("cursor", ["soon", "", "2025-03-09T03:30:00.000Z", "2025-03-09T03:30:00.000-05:00"])
def test_a_cursor_that_is_no_floating_timestamp_is_refused(cursor: str) -> None:
    """The error quotes it."""
    with pytest.raises(MalformedError, match=f"cursor '{cursor}'"):
        hours_before(cursor, 48)


def run(run_id: str, minutes_ago: float, **more: Any) -> Run:
    """A run of the pipeline that is under way."""
    started = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    return replace(Run(run_id, "p", RunMode.INCREMENTAL, RunState.RUNNING, started), **more)


def test_a_pipeline_belongs_to_its_present_run() -> None:
    """Other pipelines, replays and ended runs keep nobody waiting; nor does a run that takes too long."""
    ours = timedelta(minutes=15)
    assert occupant([run("a", 5), run("b", 2)], "r", "p", NOW, ours) == ("b", 13 * 60)
    assert occupant([run("a", 5, state=RunState.PLANNING)], "r", "p", NOW, ours) == ("a", 600)
    idle = [
        run("old", 15),
        run("r", 1),
        run("other", 1, pipeline="q"),
        run("again", 1, mode=RunMode.REPLAY),
        run("done", 1, state=RunState.SUCCEEDED),
        run("broken", 1, state=RunState.FAILED),
    ]
    assert occupant(idle, "r", "p", NOW, ours) is None


@pytest.mark.parametrize("exclusive_s", [60.0, 900.0, 3_600.0])
def test_the_receives_of_a_waiting_request_outlast_the_other_run(exclusive_s: float) -> None:
    """It looks again every 15 s at first, and never lands in the dead-letter queue for having waited."""
    left = exclusive_s
    delays: list[float] = []
    while left > 0:
        delays.append(snooze_s(left, len(delays) + 1))
        left -= delays[-1]
    assert delays[: min(9, len(delays))] == [15.0] * min(9, len(delays))
    assert len(delays) < 20, "the last receive plans"
