"""The generated service requests are what they say they are, and look like real ones."""

import gzip
import json
from collections import Counter
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from time import process_time
from typing import Any

import pytest

from contracts.pipelines import Column
from services.console.demo.service_requests import (
    COLUMNS,
    LATEST,
    USUAL_DELAY,
    WANTED,
    Expected,
    Sample,
    ServiceRequest,
    generate,
)
from services.console.demo.service_requests_city import STATUSES
from services.runtime.declarations import load_pipeline
from services.runtime.settings import PROJECT
from services.validator.core.declared.lines import judge_line

PIPELINE = load_pipeline(PROJECT / "pipelines" / "nyc_311.toml")
REAL = PROJECT.parent / "shared" / "data" / "nyc311" / "full_columns.ndjson.gz"
ROWS = list(generate(Sample(count=20_000, share_bad=0.005)))


def is_of(value: Any, type_: str) -> bool:
    """Whether a value on the wire is of a declared type, by the plainest reading."""
    if type_ == "point":
        return isinstance(value, dict)
    if not isinstance(value, str):
        return False
    try:
        readers = {"int64": int, "float64": float, "timestamp_us": datetime.fromisoformat}
        readers.get(type_, str)(value)  # type: ignore[operator]
    except ValueError:
        return False
    return True


def judge(request: ServiceRequest) -> tuple[bool, tuple[str, ...]]:
    """Whether a row must be quarantined, and which of its values are nulled, straight from the declaration."""
    document, bad, nulled = request.document, False, []

    def wrong(name: str, column: Column) -> bool:
        return column.required if name not in document else not is_of(document[name], column.type)

    for name, column in PIPELINE.columns.items():
        if wrong(name, column):
            bad |= column.on_error == "quarantine"
            nulled += [name] if column.on_error == "null" else []
    return bad, tuple(nulled)


def test_the_expected_verdict_is_the_true_one() -> None:
    """Every row's verdict is what the pipeline's columns say of it."""
    wrong = [row.line for row in ROWS if judge(row) != (bool(row.bad), row.nulled)]
    assert wrong == []
    assert Counter(row.bad for row in ROWS).keys() == {"", "no-status", "not-text"}
    assert {name for row in ROWS for name in row.nulled} == {"latitude", "x_coordinate_state_plane", "due_date"}


def test_the_validator_agrees() -> None:
    """What the pipeline's own service makes of a row is what was expected of it."""
    for row in ROWS[:5_000]:
        judged = judge_line(row.line.encode(), PIPELINE.columns)
        assert bool(judged.errors) == bool(row.bad), row.line
        assert judged.nulled == (() if row.bad else row.nulled), row.line


def test_expected_totals_follow_the_verdicts() -> None:
    """Rows of the wanted statuses are merged or quarantined; publication and look-back leave rows out."""
    everything, asked = Expected.of(ROWS, statuses=None), Expected.of(ROWS)
    assert len(everything.merged) + len(everything.quarantined) == len(ROWS)
    wanted = [row for row in ROWS if row.status in WANTED]
    assert asked.merged == {row.unique_key for row in wanted if not row.bad}
    assert asked.quarantined == {row.unique_key for row in wanted if row.bad}
    assert len(asked.quarantined) > 10
    assert asked.nulled == Counter(name for row in wanted if not row.bad for name in row.nulled)
    middle = ROWS[len(ROWS) // 2].created
    early = Expected.of(ROWS, published_by=middle)
    recent = Expected.of(ROWS, created_from=middle)
    assert early.merged == {r.unique_key for r in wanted if not r.bad and r.published_at <= middle}
    assert recent.merged == {r.unique_key for r in wanted if not r.bad and r.created >= middle}


def test_the_same_sample_gives_the_same_rows() -> None:
    """Also in another process and on another Python: the digest is written down here."""
    digest = sha256()
    for row in generate(Sample(count=500, seed=7)):
        digest.update(f"{row.line}\0{row.published_at.isoformat()}\0{row.bad}\0".encode())
    assert digest.hexdigest() == "26793d103879b278bfeb01e6b00ef0ed0d3dae9075fce4470e75e32eca40390b"


def test_a_longer_sample_begins_like_a_shorter_one() -> None:
    """A stack that is started again later serves the rows it served before, and newer ones."""
    assert ROWS[:300] == list(generate(Sample(count=300, share_bad=0.005)))
    assert ROWS[:300] != list(generate(Sample(count=300, share_bad=0.005, seed=1)))


def test_rows_are_single_lines_of_text_values() -> None:
    """Every value is text, but for places and for what must be quarantined; quotes and accents occur."""
    for row in ROWS:
        assert "\n" not in row.line
        document = row.document
        assert document["unique_key"] == row.unique_key
        assert document["created_date"] == row.created.isoformat(timespec="milliseconds")
        assert document.get("status") == row.status
        others = {name for name, value in document.items() if not isinstance(value, str)}
        assert others <= {"location"} | ({"agency_name"} if row.bad == "not-text" else set())
    assert any("PEÑA" in row.line for row in ROWS)
    assert any('\\"COURT\\"' in row.line for row in ROWS)


def test_columns() -> None:
    """Every declared column occurs, and four that the pipeline does not declare; each has its type there."""
    seen = {name for row in ROWS for name in row.document}
    undeclared = {":@computed_region_efsh_h5xi", "council_district", "police_precinct", "descriptor_2"}
    assert seen == set(COLUMNS)
    assert set(COLUMNS) - undeclared == set(PIPELINE.columns)
    types = {"timestamp_us": "floating_timestamp", "int64": "number", "float64": "number", "point": "point"}
    assert all(COLUMNS[name] == types.get(column.type, "text") for name, column in PIPELINE.columns.items())


def test_places_have_both_forms() -> None:
    """As it was written before, in text, and as it is written now, with numbers; both say what the columns say."""
    forms = Counter()  # type: ignore[var-annotated]
    for row in ROWS:
        place = row.document.get("location")
        if place is not None and "latitude" not in row.nulled:
            position = (row.document["latitude"], row.document["longitude"])
            if "type" in place:
                assert [str(value) for value in reversed(place["coordinates"])] == list(position)
            else:
                assert (place["latitude"], place["longitude"]) == position
                assert json.loads(place["human_address"]) == {"address": "", "city": "", "state": "", "zip": ""}
        forms[None if place is None else place.get("type")] += 1
    assert min(forms.values()) > 200


def test_statuses_ties_and_keys() -> None:
    """All twelve statuses, groups of rows in one second, keys that are unique and in another order than time."""
    assert {row.status for row in ROWS} - {None} == {name for name, _ in STATUSES}
    assert 0.4 < sum(row.status in WANTED for row in ROWS) / len(ROWS) < 0.5
    sizes = Counter(Counter(row.created for row in ROWS).values())
    assert 0.15 < 1 - sizes[1] / len(ROWS) < 0.35
    assert max(sizes) > 5
    keys = [row.unique_key for row in ROWS]
    assert len(set(keys)) == len(keys)
    assert 0.3 < sum(a > b for a, b in pairwise(keys)) / len(keys) < 0.7
    assert [row.created for row in ROWS] == sorted(row.created for row in ROWS)


def test_odd_values_occur() -> None:
    """Dates of other centuries, a closing before the creation, zip codes that are none."""
    documents = [row.document for row in ROWS]
    closed = [(d["closed_date"], d["created_date"]) for d in documents if "closed_date" in d]
    assert {"1899-12-31T00:00:00.000", "3027-01-01T00:00:00.000"} <= {date for date, _ in closed}
    assert any(date < created for date, created in closed)
    assert {"--------", "N/A", "ZIP CODE"} <= {d["incident_zip"] for d in documents}


def test_publication() -> None:
    """The newest published row is 25 hours old; a tenth comes later, at most 47 hours after its creation."""
    delays = [row.published_at - row.created for row in ROWS]
    assert (min(delays), max(delays)) <= (USUAL_DELAY, LATEST)
    assert max(delays) > LATEST - timedelta(hours=1)
    assert 0.08 < sum(delay > USUAL_DELAY for delay in delays) / len(delays) < 0.12


def test_a_crowded_instant() -> None:
    """As many rows as asked for at the first midnight, and no other row is changed by them."""
    rows = list(generate(Sample(count=12_000, instant_rows=7_650, share_tied=0)))
    [(instant, count)] = Counter(row.created for row in rows).most_common(1)
    assert (instant, count) == (datetime(2025, 1, 2), 7_650)  # noqa: DTZ001 - floating


def test_shares_of_zero_leave_only_good_rows() -> None:
    """A benchmark can ask for nothing but rows that are merged as they are, each in a second of its own."""
    rows = list(generate(Sample(count=2_000, share_late=0, share_tied=0, share_odd=0, share_bad=0, rows_per_day=50)))
    assert {judge(row) for row in rows} == {(False, ())}
    assert {row.published_at - row.created for row in rows} == {USUAL_DELAY}
    assert len({row.created for row in rows}) > 1_990


def test_the_pace_is_kept() -> None:
    """Rows per day are as asked, for a slow dataset and for a fast one."""
    for pace in (50.0, 5_000.0):
        rows = list(generate(Sample(count=3_000, rows_per_day=pace, share_tied=0)))
        days = (rows[-1].created - rows[0].created) / timedelta(days=1)
        assert days == pytest.approx(3_000 / pace, rel=0.3)


def test_twenty_thousand_rows_are_cheap() -> None:
    """A quarter of a second of CPU time; the bound leaves room for a slow machine."""
    started = process_time()
    assert sum(1 for _ in generate(Sample(count=20_000))) == 20_000
    assert process_time() - started < 2


def test_generated_rows_have_the_shape_of_real_ones() -> None:
    """No column that real rows do not have, values of the same JSON types, about as many bytes."""
    if not REAL.exists():
        pytest.skip("the sample of real service requests is not on this machine")
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    real = [json.loads(line) for line in lines]
    kinds = {(name, type(value)) for document in real for name, value in document.items()}
    good = [row for row in ROWS if not row.bad]
    assert {(name, type(value)) for row in good for name, value in row.document.items()} <= kinds
    sizes = [sum(map(len, some)) / len(some) for some in (lines, [row.line for row in good])]
    assert 0.7 < sizes[0] / sizes[1] < 1.4
