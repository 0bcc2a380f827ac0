"""The server as ``sodapy`` sees it, a client that was written for the real service."""

from collections import Counter
from collections.abc import Iterator

import pytest
from requests.adapters import HTTPAdapter
from requests.exceptions import HTTPError
from sodapy import Socrata

from services.console.demo.service_requests import Sample, ServiceRequest, generate
from tests.socrata_support import DATASET, SocrataServer

SAMPLE = Sample(count=3_000, rows_per_day=700, share_bad=0)
WANTED = "status in ('Open', 'In Progress')"


@pytest.fixture(scope="module")
def rows(running: SocrataServer) -> list[ServiceRequest]:
    """What the dataset holds."""
    running.load(generate=SAMPLE.model_dump(mode="json"))
    return list(generate(SAMPLE))


@pytest.fixture
def client(server: SocrataServer, rows: list[ServiceRequest]) -> Iterator[Socrata]:
    """A client without a token."""
    assert rows
    with connect(server) as client:
        yield client


def connect(server: SocrataServer, token: str | None = None) -> Socrata:
    """A client that speaks plain HTTP to the sample server, as it does HTTPS to a real domain."""
    adapter = {"prefix": "http://", "adapter": HTTPAdapter()}
    return Socrata(server.url.removeprefix("http://"), token, session_adapter=adapter)


def test_rows_as_they_are(client: Socrata, rows: list[ServiceRequest]) -> None:
    """A thousand rows unless told otherwise, each with the values and the missing keys that it has."""
    assert client.get(DATASET) == [row.document for row in rows[:1_000]]
    assert client.get(DATASET, limit=2, offset=2_999) == [rows[-1].document]


def test_select_where_and_order_on_two_columns(client: Socrata, rows: list[ServiceRequest]) -> None:
    """The client's clauses mean what they mean to the real service."""
    middle = rows[1_500].document["created_date"]
    found = client.get(
        DATASET,
        select="unique_key, created_date AS since, location",
        where=f"{WANTED} AND created_date >= '{middle}' AND agency != 'NYPD'",
        order="borough DESC, unique_key",
        limit=3_000,
    )
    wanted = [
        row.document
        for row in rows
        if row.status in {"Open", "In Progress"} and row.document["created_date"] >= middle
        if row.document["agency"] != "NYPD"
    ]
    wanted.sort(key=lambda row: row["unique_key"])
    wanted.sort(key=lambda row: row["borough"], reverse=True)
    assert len(found) > 100
    assert found == [
        {"unique_key": r["unique_key"], "since": r["created_date"]}
        | ({"location": r["location"]} if "location" in r else {})
        for r in wanted
    ]


def test_groups_and_counts(client: Socrata, rows: list[ServiceRequest]) -> None:
    """Counts by day are those of the rows, in order, as text."""
    found = client.get(
        DATASET,
        select="date_trunc_ymd(created_date) AS day, count(*)",
        where=WANTED,
        group="day",
        order="day",
    )
    days = Counter(str(row.created.date()) for row in rows if row.status in {"Open", "In Progress"})
    assert found == [{"day": f"{day}T00:00:00.000", "count": str(count)} for day, count in sorted(days.items())]
    assert client.get(DATASET, select="max(created_date)") == [{"max_created_date": rows[-1].document["created_date"]}]


def test_paging_with_get_all(client: Socrata, rows: list[ServiceRequest]) -> None:
    """Pages of any size are the whole, each row once, though many share the value they are sorted by."""
    found = list(client.get_all(DATASET, order="created_date, unique_key", limit=450))
    key = [(row.document["created_date"], row.unique_key) for row in rows]
    assert [(row["created_date"], row["unique_key"]) for row in found] == sorted(key)
    assert len({row["unique_key"] for row in client.get_all(DATASET, order="status", limit=450)}) == len(rows)


def test_simple_filters(client: Socrata, rows: list[ServiceRequest]) -> None:
    """A column's name as a parameter."""
    found = client.get(DATASET, status="Open", borough="STATEN ISLAND")
    wanted = [r.document for r in rows if r.status == "Open" and r.document["borough"] == "STATEN ISLAND"]
    assert found == wanted
    assert len(wanted) > 5


def test_tokens(server: SocrataServer, rows: list[ServiceRequest]) -> None:
    """The token comes in the header; one that does not exist is refused with the server's message; none is accepted."""
    assert rows
    server.tokens("good")
    with connect(server, "good") as known, connect(server) as anonymous, connect(server, "bad") as unknown:
        assert len(known.get(DATASET, limit=1)) == len(anonymous.get(DATASET, limit=1)) == 1
        with pytest.raises(HTTPError, match="Invalid app_token specified") as refused:
            unknown.get(DATASET, limit=1)
    assert refused.value.response is not None
    assert refused.value.response.status_code == 403
    assert [(entry["token"], entry["token_in"], entry["status"]) for entry in server.log()] == [
        ("good", "header", 200),
        (None, None, 200),
        ("bad", "header", 403),
    ]


@pytest.mark.parametrize(
    ("dataset", "clauses", "status", "message"),
    [
        (DATASET, {"where": "created_date >"}, 400, "Could not parse SoQL query 'created_date >'"),
        (DATASET, {"select": "creation_date"}, 400, "No such column: creation_date"),
        (DATASET, {"where": "created_date > 'today'"}, 400, "Type mismatch: 'today' is not a floating_timestamp"),
        (DATASET, {"limit": 50_001}, 400, "at most 50000"),
        (DATASET, {"query": "select *"}, 400, "Unrecognized arguments"),
        ("none-such", {}, 404, "There is no dataset none-such"),
    ],
)
def test_errors(client: Socrata, dataset: str, clauses: dict[str, str], status: int, message: str) -> None:
    """The client raises with the server's own words."""
    with pytest.raises(HTTPError, match=message) as refused:
        client.get(dataset, **clauses)
    assert refused.value.response is not None
    assert refused.value.response.status_code == status
    assert refused.value.response.json()["error"] is True
