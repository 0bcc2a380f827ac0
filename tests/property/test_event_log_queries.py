"""The correctness properties of the event log that its readers rely on: queries over a checkpoint file."""

from collections import Counter
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import COLUMNS, VisitEvent
from services.console.commands.query import ask
from services.validator.core.columns import schema_of
from tests.property.event_log_data import ACTIONS, events, few_visits, meeting_events
from tests.property.event_log_world import PIPELINE

HUNDRED = settings(max_examples=100, deadline=None)

checkpoints = st.lists(meeting_events, max_size=20)


def answer(rows: list[VisitEvent], sql: str, **parameters: str) -> list[dict[str, Any]]:
    """Ask a checkpoint file with these rows; ``{table}`` stands for it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.parquet"
        ordered = sorted(rows, key=lambda event: event.timestamp)
        schema = schema_of(COLUMNS["visit_event"])
        pl.DataFrame([event.model_dump() for event in ordered], schema=schema).write_parquet(file)
        return ask([file], "events", sql.replace("{table}", "events"), parameters)


def named(rows: list[VisitEvent], query: str, **parameters: str) -> list[dict[str, Any]]:
    """Ask one of the pipeline's named queries."""
    return answer(rows, PIPELINE.queries[query].sql, **parameters)


def visit(event: VisitEvent) -> tuple[str, date, str]:
    return event.ptid, event.visit_date, event.visit_number


# Feature: event-log-scraper, Property 11: Query filtering correctness
@HUNDRED
@given(
    rows=checkpoints,
    criteria=st.fixed_dictionaries(
        {},
        optional={
            "center_label": st.sampled_from(["alpha", "beta", "nobody", "ünïcode 'quoted'"]),
            "action": st.sampled_from(ACTIONS),
            "packet": st.sampled_from(["I", "F", "UDS"]),
            "from": st.sampled_from(["2024-01-15", "2024-01-16", "2025-01-01"]),
            "to": st.sampled_from(["2024-01-15", "2024-02-28", "2024-02-29"]),
        },
    ),
)
def test_filters_return_exactly_what_matches(rows: list[VisitEvent], criteria: dict[str, str]) -> None:
    """Any combination of centre, action, packet and date range; a filter that is left out does not filter."""

    def matches(event: VisitEvent) -> bool:
        equal = all(getattr(event, k) == v for k, v in criteria.items() if k not in {"from", "to"})
        day = event.visit_date.isoformat()
        return equal and criteria.get("from", day) <= day <= criteria.get("to", day)

    found = [VisitEvent(**row) for row in named(rows, "filtered", **criteria)]
    assert Counter(found) == Counter(filter(matches, rows))
    assert [event.timestamp for event in found] == sorted(event.timestamp for event in found)


# Feature: event-log-scraper, Property 12: Temporal calculation support
@HUNDRED
@given(rows=st.lists(events(visits=st.tuples(st.just("A1"), st.dates(), st.just("01"))), max_size=10))
def test_days_between_visit_and_event_are_exact(rows: list[VisitEvent]) -> None:
    """For every submit and pass-qc event over the whole calendar, forwards and backwards, in UTC days."""
    expected = Counter(
        (event.visit_date, event.timestamp, event.action, (event.timestamp.date() - event.visit_date).days)
        for event in rows
        if event.action in {"submit", "pass-qc"}
    )
    found = named(rows, "days_to_event")
    assert Counter((r["visit_date"], r["timestamp"], r["action"], r["days"]) for r in found) == expected


# Feature: event-log-scraper, Property 13: Aggregation correctness
@HUNDRED
@given(rows=checkpoints, fields=st.sets(st.sampled_from(["module", "packet", "action", "center_label"]), min_size=1))
def test_counts_are_the_events_of_each_group(rows: list[VisitEvent], fields: set[str]) -> None:
    """Over any combination of fields, null being a group of its own; also as the named query has it."""
    columns = sorted(fields)
    found = answer(rows, f"SELECT {', '.join(columns)}, count(*) AS n FROM {{table}} GROUP BY ALL")  # noqa: S608 - fixed names
    groups = Counter(tuple(getattr(event, column) for column in columns) for event in rows)
    assert {tuple(row[column] for column in columns): row["n"] for row in found} == groups
    report = named(rows, "counts_by_action")
    assert {(r["center_label"], r["module"], r["packet"], r["action"]): r["events"] for r in report} == Counter(
        (event.center_label, event.module, event.packet, event.action) for event in rows
    )


# Feature: event-log-scraper, Property 17: Event completeness analysis
@HUNDRED
@given(rows=st.lists(meeting_events | events(visits=few_visits), max_size=20))
def test_the_latest_event_of_each_visit_is_found(rows: list[VisitEvent]) -> None:
    """One row a visit: the newest, and where several are newest one with a module if any has one."""
    groups: dict[tuple[str, date, str], list[VisitEvent]] = {}
    for event in rows:
        groups.setdefault(visit(event), []).append(event)
    found = [VisitEvent(**row) for row in named(rows, "latest_per_visit")]
    assert sorted(visit(event) for event in found) == sorted(groups)
    for event in found:
        newest = max(other.timestamp for other in groups[visit(event)])
        rivals = [other for other in groups[visit(event)] if other.timestamp == newest]
        assert event in rivals
        assert (event.module is None) == all(other.module is None for other in rivals)


# Feature: event-log-scraper, Property 17: Event completeness analysis (how complete, and in which order)
@HUNDRED
@given(rows=checkpoints)
def test_evolution_and_completeness_of_each_visit(rows: list[VisitEvent]) -> None:
    """Every event of a visit in order of time, and of visits with several events how many values they went through."""
    groups: dict[tuple[str, date, str], list[VisitEvent]] = {}
    for event in rows:
        groups.setdefault(visit(event), []).append(event)
    timeline = [
        (r["ptid"], r["visit_date"], r["visit_number"], r["timestamp"]) for r in named(rows, "evolution_timeline")
    ]
    assert timeline == sorted((*visit(event), event.timestamp) for event in rows)
    completeness = {
        (r["ptid"], r["visit_date"], r["visit_number"]): (r["event_count"], r["module_versions"], r["packet_versions"])
        for r in named(rows, "completeness")
    }
    assert completeness == {
        key: (len(group), len({e.module for e in group} - {None}), len({e.packet for e in group} - {None}))
        for key, group in groups.items()
        if len(group) > 1
    }


# Feature: event-log-scraper, Property 17: Event completeness analysis (monthly report by latest status)
@HUNDRED
@given(rows=checkpoints)
def test_the_monthly_report_counts_each_visit_once(rows: list[VisitEvent]) -> None:
    """By centre, month and the status of the latest event, as the latest-event query gives it."""
    latest = [VisitEvent(**row) for row in named(rows, "latest_per_visit")]
    report = named(rows, "monthly_report")
    assert sum(row["visits"] for row in report) == len(latest) == len({visit(event) for event in rows})
    months = Counter(f"{event.visit_date:%Y-%m}" for event in latest)
    assert sum((Counter({row["month"]: row["visits"]}) for row in report), Counter()) == months
