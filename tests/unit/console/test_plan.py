"""What a dry run shows."""

import pytest

from contracts.plans import PlanPreview, PreviewedSegment
from contracts.runs import RunMode
from services.console.commands.plan import SHOWN, show, show_chunks, show_group
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT

PIPELINES = load_pipelines(PROJECT / "pipelines")


def preview(segments: int, **more: object) -> PlanPreview:
    """A preview with some segments of 100 rows."""
    known = {
        "run_id": "r",
        "pipeline": "nyc_311",
        "mode": RunMode.INITIAL,
        "segments": [PreviewedSegment(segment_id=f"{n:04d}", label=f"[day {n}]", rows=100) for n in range(segments)],
        "rows": 100 * segments,
        "requests": 3 * segments,
        "messages": segments,
    }
    return PlanPreview.model_validate(known | more)


def test_a_collecting_plan_shows_its_range_and_its_segments(capsys: pytest.CaptureFixture[str]) -> None:
    """Also the limit that stops it, what it asks of the source, and how far the watermark would be."""
    start, end = "2024-02-23T00:00:00.000", "2024-03-01T10:11:12.000"
    show(preview(12, start=start, end=end, frontier=end, limit=1_200), PIPELINES["nyc_311"])
    out = capsys.readouterr().out
    for line in (
        "plan of nyc_311  initial  1,200 rows in 12 segments\n",
        f"  range: {start} to {end}\n",
        "  limit: stops at 1,200 rows; the next run goes on exactly there\n",
        "  source: 36 requests; queues: 12 messages\n",
        f"  watermark afterwards: {end}\n",
        "[day 11]",
    ):
        assert line in out


def test_a_plan_over_objects_counts_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no range and no limit."""
    show(preview(1, pipeline="visit_events", mode=RunMode.SCAN), PIPELINES["visit_events"])
    out = capsys.readouterr().out
    assert "plan of visit_events  scan  100 objects in 1 segments\n" in out
    assert [word in out for word in ("range", "limit", "watermark", "rows")] == [False] * 4


def test_an_empty_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No empty table."""
    show(preview(0), PIPELINES["nyc_311"])
    assert capsys.readouterr().out.endswith("nothing to read\n")


def test_a_long_plan_is_cut_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """With how many segments are left out."""
    show(preview(SHOWN + 1_000), PIPELINES["nyc_311"])
    out = capsys.readouterr().out
    assert f"[day {SHOWN - 1}]" in out
    assert f"[day {SHOWN}]" not in out
    assert out.endswith("… and 1,000 more (--json gives all)\n")


def test_a_plan_of_a_group_has_a_line_for_each_entity(capsys: pytest.CaptureFixture[str]) -> None:
    """With its window and where its watermark would be, or why there can be no plan of it."""
    end = "2026-01-02T00:00:00.000000"
    orders = preview(2, pipeline="shop.orders", mode=RunMode.FULL, start="1970-01-01 00:00:00", end=end, frontier=end)
    items = preview(0, pipeline="shop.items", mode=RunMode.FULL, error="permission denied")
    show_group(preview(2, pipeline="shop"), {"orders": orders, "items": items})
    out = capsys.readouterr().out
    assert out.startswith("plan of shop  200 rows in 2 segments\n")
    [line] = [line for line in out.splitlines() if "│ orders" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        *("orders", "full", "200", "2", "1970-01-01 00:00:00", end, end, ""),
    ]
    assert any("│ items" in line and "permission denied" in line for line in out.splitlines())


def test_a_chunked_plan_shows_its_days_chunks_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is larger than a chunk should be is told before the run."""
    days = {"start": "2024-01-01", "end": "2026-01-31", "warnings": ["one (VisitDate, SSN) has 60,000 rows"]}
    show_chunks(preview(2, pipeline="conflict_report", mode=RunMode.CHUNKS, **days))
    out = capsys.readouterr().out
    assert out.startswith("plan of conflict_report  chunks  200 rows in 2 chunks\n  days: 2024-01-01 to 2026-01-31\n")
    assert "  queues: 2 messages\n  warning: one (VisitDate, SSN) has 60,000 rows\n" in out
    assert "[day 1]" in out
    show_chunks(preview(0, mode=RunMode.CHUNKS))
    assert capsys.readouterr().out.endswith("nothing to do\n")
