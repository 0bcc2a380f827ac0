"""Trouble on demand, publication, what the control plane counts, and the server's life as a process."""

import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.socrata_support import DATASET, RefusedError, SocrataServer, socrata_server

ROWS = [{"unique_key": str(n), "created_date": f"2025-02-21T00:00:{n:02}.000", "status": "Open"} for n in range(20)]


class Answer:
    """An answer as it came over the line; ``body`` may be shorter than promised."""

    def __init__(self, server: SocrataServer, query: str = "", headers: Mapping[str, str] | None = None) -> None:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        started = time.monotonic()
        try:
            connection.request(
                "GET", f"/resource/{DATASET}.json?{quote(query, safe='=&$')}", headers=dict(headers or {})
            )
            response = connection.getresponse()
            try:
                self.body, self.broken = response.read(), False
            except http.client.IncompleteRead as error:
                self.body, self.broken = error.partial, True
        finally:
            connection.close()
        self.seconds = time.monotonic() - started
        self.status, self.headers = response.status, response.headers


@pytest.fixture
def loaded(server: SocrataServer) -> SocrataServer:
    """A server with twenty rows."""
    server.load(ROWS)
    return server


def test_fields_are_in_the_headers(loaded: SocrataServer) -> None:
    """Names and types of all columns, also of those that no row of the page has."""
    answer = Answer(loaded, "$limit=1")
    assert json.loads(answer.headers["X-SODA2-Fields"]) == ["unique_key", "created_date", "status"]
    assert json.loads(answer.headers["X-SODA2-Types"]) == ["text", "floating_timestamp", "text"]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_a_storm_of_errors(loaded: SocrataServer) -> None:
    """Each with the status, header and body that its rule names; afterwards all is well."""
    loaded.faults(
        {"status": 429, "retry_after": "0", "times": 1},
        {"status": 429, "times": 1},
        {"status": 503, "body": "<html>bad gateway</html>", "retry_after": "2", "times": 1},
        {"status": 500, "message": "boom", "times": 1},
        {"status": 401, "times": 1},
    )
    answers = [Answer(loaded) for _ in range(6)]
    assert [answer.status for answer in answers] == [429, 429, 503, 500, 401, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["0", None, "2", None, None, None]
    assert answers[2].body == b"<html>bad gateway</html>"
    assert json.loads(answers[3].body) == {"code": "internal_error", "error": True, "message": "boom", "data": {}}
    assert loaded.fired() == [1, 1, 1, 1, 1]
    assert [entry["fault"] for entry in loaded.log()] == [0, 1, 2, 3, 4, None]


def test_a_connection_that_breaks_off(loaded: SocrataServer) -> None:
    """The client gets the promised length and fewer bytes; the next request is answered in full."""
    whole = Answer(loaded).body
    for cut in (0, 1, 100, len(whole) - 1):
        loaded.faults({"cut_after": cut, "times": 1})
        answer = Answer(loaded)
        assert (answer.status, answer.broken, answer.body) == (200, True, whole[:cut])
        assert answer.headers["Content-Length"] == str(len(whole))
    assert Answer(loaded).body == whole


def test_a_short_page_that_looks_complete(loaded: SocrataServer) -> None:
    """Fewer rows than asked for, in a whole array, for requests that match only."""
    loaded.faults({"cap": 3, "contains": "$offset=5"})
    assert [row["unique_key"] for row in loaded.get(limit=10, offset=5)] == ["5", "6", "7"]
    assert len(loaded.get(limit=10, offset=4)) == 10
    assert len(loaded.get(limit=2, offset=5)) == 2


def test_an_array_on_one_line(loaded: SocrataServer) -> None:
    """The same rows without line breaks between them."""
    loaded.faults({"one_line": True})
    answer = Answer(loaded)
    assert json.loads(answer.body) == ROWS
    assert answer.body.count(b"\n") == 1


def test_slow_answers(loaded: SocrataServer) -> None:
    """Latency is everywhere, a delay where its rule strikes; neither counts as work."""
    loaded.latency(60)
    loaded.faults({"delay_ms": 100, "skip": 1})
    quick, slow = Answer(loaded), Answer(loaded)
    assert quick.seconds > 0.06
    assert slow.seconds > 0.16
    assert 0 < loaded.stats()["busy_s"] < 0.1


def test_a_throttled_client(loaded: SocrataServer) -> None:
    """Beyond the burst 429 with the seconds to wait; another token has an account of its own."""
    loaded.throttle(0.01, burst=2)
    assert [Answer(loaded).status for _ in range(3)] == [200, 200, 429]
    refused = (
        Answer(loaded, headers={"X-App-Token": "a"}),
        Answer(loaded, "$$app_token=a"),
        Answer(loaded, "$$app_token=a"),
    )
    assert [answer.status for answer in refused] == [200, 200, 429]
    assert 90 <= int(refused[-1].headers["Retry-After"]) <= 100
    assert [entry["token_in"] for entry in loaded.log()] == [None, None, None, "header", "query", "query"]
    loaded.throttle(None)
    assert Answer(loaded).status == 200


def test_late_and_changed_rows(loaded: SocrataServer) -> None:
    """With the clock they come to light in their turn; their time of publication is nowhere on the wire."""
    loaded.publish(
        [
            {**ROWS[0], "status": "Closed", "published_at": "2025-02-23T00:00:00.000"},
            {
                "unique_key": "late",
                "created_date": "2025-02-21T00:00:00.500",
                "published_at": "2025-02-22T00:00:00.000",
            },
        ]
    )
    seen = []
    for now in ("2025-02-21T23:59:59.999", "2025-02-22T00:00:00.000", "2025-02-23T00:00:00.000", None):
        loaded.clock(now)
        rows = loaded.get(where="created_date < '2025-02-21T00:00:01'", order="created_date")
        assert not any("published_at" in row for row in rows)
        seen.append([(row["unique_key"], row.get("status")) for row in rows])
    late = ("late", None)
    assert seen == [[("0", "Open")], [("0", "Open"), late], [("0", "Closed"), late], [("0", "Closed"), late]]


def test_the_systems_clock_is_new_yorks(loaded: SocrataServer) -> None:
    """What was published long ago is visible, what comes in years is not."""
    loaded.publish([{"unique_key": "soon", "published_at": "2999-01-01T00:00:00.000"}])
    loaded.clock("system")
    assert loaded.get(select="count(*)") == [{"count": "20"}]


def test_stats_and_log(loaded: SocrataServer) -> None:
    """Requests, rows and bytes add up; the log has the parameters as they came; clearing forgets both."""
    body = Answer(loaded, "$where=status = 'Open'&$limit=5&status=Open", {"X-App-Token": "t"}).body
    with pytest.raises(RefusedError):
        loaded.get(select="nothing")
    stats, (first, second) = loaded.stats(), loaded.log()
    assert (stats["requests"], stats["statuses"], stats["rows"], stats["bytes"]) == (
        2,
        {"200": 1, "400": 1},
        5,
        len(body),
    )
    assert stats["busy_s"] == pytest.approx(first["busy_s"] + second["busy_s"])
    assert first["params"] == {"$where": "status = 'Open'", "$limit": "5", "status": "Open"}
    assert (first["dataset"], first["token"], first["rows"], second["rows"]) == (DATASET, "t", 5, 0)
    loaded.forget()
    assert (loaded.log(), loaded.stats()["requests"]) == ([], 0)


def test_pages_are_cheap(server: SocrataServer) -> None:
    """A page of two thousand from twenty thousand rows takes milliseconds of work; the bound is for busy machines."""
    server.load(generate={"count": 20_000})
    server.forget()
    for day in range(1, 10):
        where = f"status in ('Open', 'In Progress') and created_date >= '2025-01-0{day}'"
        assert len(server.get(where=where, order="created_date, unique_key", limit=2_000)) == 2_000
    assert sorted(entry["busy_s"] for entry in server.log())[4] < 0.1


def test_datasets_come_and_go(loaded: SocrataServer) -> None:
    """Replacing starts over; what is removed is not found, neither by clients nor by the control plane."""
    assert loaded.load(ROWS[:2])["rows"] == 2
    assert loaded.control("GET", f"datasets/{DATASET}") == {
        "id": DATASET,
        "rows": 2,
        "key": "unique_key",
        "columns": {"unique_key": "text", "created_date": "floating_timestamp", "status": "text"},
    }
    loaded.remove()
    for attempt in (loaded.get, loaded.remove, lambda: loaded.publish([])):
        with pytest.raises(RefusedError, match=r"404 dataset\.missing"):
            attempt()


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("PUT", f"datasets/{DATASET}", {"lines": []}, "lines: Extra inputs are not permitted"),
        ("PUT", f"datasets/{DATASET}", {"path": "/no/such/file"}, "No such file"),
        ("POST", "faults", {"rules": [{"status": 200}]}, "rules.0.status: "),
        ("POST", "faults", {"rules": [{"state": 500}]}, "rules.0.state: Extra inputs are not permitted"),
        ("POST", "throttle", {"requests_per_second": 0}, "requests_per_second: Input should be greater than 0"),
        ("POST", "latency", {}, "ms: Field required"),
        ("POST", "clock", {"now": "noon"}, "now: 'noon' is not a floating timestamp"),
        ("POST", "clock", {"now": "2025-02-21T00:00:00Z"}, "is not a floating timestamp"),
    ],
)
def test_wrong_control_requests(
    loaded: SocrataServer, method: str, path: str, body: dict[str, object], message: str
) -> None:
    """400 with the place and the reason; nothing is changed."""
    with pytest.raises(RefusedError, match=message) as refused:
        loaded.control(method, path, body)
    assert refused.value.status == 400
    assert len(loaded.get()) == 20


def test_data_and_clock_of_the_command_line() -> None:
    """The first line of output is the address, and by then everything is loaded; SIGTERM ends the server cleanly."""
    data = json.dumps({"rows": [*ROWS, {"unique_key": "later", "published_at": "2025-03-01T00:00:00.000"}]})
    with socrata_server("--dataset", DATASET, data, "--clock", "2025-02-28") as own:
        assert own.get(select="count(*)") == [{"count": "20"}]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--dataset", DATASET, '{"rows": [1]}'), 2, "error: row 0: must be an object"),
        (("--dataset", DATASET, '{"lines": 1}'), 2, "error: --dataset: lines: Extra inputs are not permitted"),
        (("--clock", "noon"), 2, "error: now: 'noon' is not a floating timestamp"),
    ],
)
def test_what_it_cannot_start_with(tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str) -> None:
    """One line of error, and an exit code."""
    log = tmp_path / "errors"
    with pytest.raises(AssertionError, match=f"exit code {code}"):
        SocrataServer.start(*arguments, log=log)
    [line] = log.read_text(encoding="utf-8").splitlines()
    assert line.startswith(reason)


def test_a_taken_port(running: SocrataServer, tmp_path: Path) -> None:
    """Another server is not touched."""
    port = urlsplit(running.url).port or 0
    with pytest.raises(AssertionError, match="exit code 1"):
        SocrataServer.start(port=port, log=tmp_path / "errors")
    assert f"error: 127.0.0.1:{port}: " in (tmp_path / "errors").read_text(encoding="utf-8")
    assert running.stats()["requests"] >= 0
