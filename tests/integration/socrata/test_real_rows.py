"""Real service requests through the server: what comes out is what went in, in the order that was asked for."""

import gzip
import json
from collections import Counter
from typing import Any

import pytest

from services.runtime.settings import PROJECT
from tests.socrata_support import SocrataServer

FOLDER = PROJECT.parent / "shared" / "data" / "nyc311"
FILES = ("full_columns.ndjson.gz", "sample_18_columns.ndjson.gz")
PAGE = 4_000

Row = dict[str, Any]


@pytest.fixture(params=FILES)
def rows(server: SocrataServer, request: pytest.FixtureRequest) -> list[Row]:
    """Real rows, loaded under the default name."""
    path = FOLDER / request.param
    if not path.exists():
        pytest.skip("the sample of real service requests is not on this machine")
    server.load(path=path, columns={"latitude": "number", "longitude": "number"})
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_keyset_pages_are_the_whole(server: SocrataServer, rows: list[Row]) -> None:
    """Every row once, as it was, though many share their created_date and keys are not in the order of time."""
    found: list[Row] = []
    where = "created_date >= '2010-01-01'"
    while True:
        page = server.get(where=where, order="created_date, unique_key", limit=PAGE)
        found += page
        if len(page) < PAGE:
            break
        at, key = page[-1]["created_date"], page[-1]["unique_key"]
        where = f"created_date > '{at}' or (created_date = '{at}' and unique_key > '{key}')"
    assert found == sorted(rows, key=lambda row: (row["created_date"], row["unique_key"]))
    groups = Counter(row["created_date"] for row in rows)
    assert max(groups.values()) > 5


def test_counts_are_those_of_the_rows(server: SocrataServer, rows: list[Row]) -> None:
    """By status, by day, and with conditions on text, numbers and missing values."""
    statuses = Counter(row["status"] for row in rows)
    assert server.get(select="status, count(*) as n", group="status", order="n desc, status") == [
        {"status": status, "n": str(n)} for status, n in sorted(statuses.items(), key=lambda item: (-item[1], item[0]))
    ]
    days = Counter(row["created_date"][:10] for row in rows)
    assert server.get(select="date_trunc_ymd(created_date) as day, count(*) as n", group="day", order="day") == [
        {"day": f"{day}T00:00:00.000", "n": str(n)} for day, n in sorted(days.items())
    ]
    conditions = {
        "complaint_type like 'Noise%' and borough != 'QUEENS'": sum(
            row["complaint_type"].startswith("Noise") and row["borough"] != "QUEENS" for row in rows
        ),
        "latitude between 40.7 and 40.8": sum(40.7 <= float(row.get("latitude", 0)) <= 40.8 for row in rows),
        "closed_date is null": sum("closed_date" not in row for row in rows),
        "closed_date < created_date": sum(row.get("closed_date", "9") < row["created_date"] for row in rows),
        "location is not null": sum("location" in row for row in rows),
    }
    for condition, count in conditions.items():
        assert server.get(select="count(*)", where=condition) == [{"count": str(count)}], condition
