"""The sample commerce API: what clients see, and what its state keeps."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.console.demo.shop_api import open_commerce
from tests.rest_support import (
    KEY,
    PAYMENTS,
    SERVER,
    SHIPMENTS,
    CommerceRefusedError,
    CommerceServer,
    commerce_server,
    payment,
    shipment,
)

RECORDS = [payment(n, f"10:{n:02d}:00Z") for n in range(5)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommerceServer]:
    """One server for all tests here."""
    with commerce_server(tmp_path_factory.mktemp("commerce")) as server:
        yield server


@pytest.fixture
def server(running: CommerceServer) -> CommerceServer:
    """The server with five payments."""
    running.reset()
    running.put(RECORDS)
    return running


def numbers(answer: dict[str, Any]) -> list[int]:
    """Whose records an answer holds."""
    return [record["order_id"] for record in answer["data"]]


def test_pages_by_number(server: CommerceServer) -> None:
    """Pages are numbered from 1, in order of the last change; behind the last one they are empty."""
    assert [numbers(server.get(page=page, limit=2)) for page in (1, 2, 3, 4)] == [[0, 1], [2, 3], [4], []]


def test_pages_by_cursor(server: CommerceServer) -> None:
    """Each page names the next one, and the last one names none."""
    found: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = server.get(limit=2, **cursor)
        found.append(numbers(answer))
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    assert found == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("how", "found"),
    [({}, [2, 3, 4]), ({"since": "exclusive"}, [3, 4]), ({"since": "ignored"}, [0, 1, 2, 3, 4]), ({"cap": 1}, [2])],
)
def test_since(server: CommerceServer, how: dict[str, Any], found: list[int]) -> None:
    """The lower bound is inclusive unless the server was told otherwise; what has no cursor is never too old."""
    server.put([payment(9, "", updated_at=None)])
    server.behave(**how)
    lines = numbers(server.get(since="2026-01-15T12:02:00+02:00"))
    assert lines == [9, *found][: how.get("cap", 10)]


def test_a_changed_record_has_one_version(server: CommerceServer) -> None:
    """A record whose key is there is changed and moves to the end."""
    server.put([payment(0, "11:00:00Z", status="captured")])
    assert numbers(server.get()) == [1, 2, 3, 4, 0]


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/payments", {"limit": "many"}, 400),
        ("/payments", {"page": 0}, 400),
        ("/payments", {"since": "soon"}, 400),
        ("/payments", {"cursor": "AAAA"}, 400),
        ("/refunds", {}, 404),
    ],
)
def test_refusals(server: CommerceServer, path: str, params: dict[str, Any], status: int) -> None:
    """What cannot be read is refused with a status and a message."""
    with pytest.raises(CommerceRefusedError, match="message") as refused:
        server.get(path, **params)
    assert refused.value.status == status


@pytest.mark.parametrize("key", [None, "", KEY[1:], f"{KEY}x"])
def test_the_key(server: CommerceServer, key: str | None) -> None:
    """Without the right key there is nothing but 401; what was sent is nowhere in the log."""
    with pytest.raises(CommerceRefusedError, match="Unauthorized") as refused:
        server.get(key=key)
    assert refused.value.status == 401
    assert KEY[1:] not in str(server.log())


@pytest.mark.parametrize("records", ["{}", "[1]", '[{"order_id": 1}]', '[{"payment_id": 1}]', "["])
def test_records_that_are_none(server: CommerceServer, records: str) -> None:
    """Records without a key of text are refused, and nothing changes."""
    with pytest.raises(CommerceRefusedError, match="400"):
        server.put(records)
    assert numbers(server.get()) == [0, 1, 2, 3, 4]


async def test_the_demo_reads_what_it_put(server: CommerceServer) -> None:
    """The demo's own client puts and reads the records of both kinds."""
    async with open_commerce(server.url) as api:
        await api.ready(5.0)
        await api.put(SHIPMENTS, [shipment(n, f"10:{n:02d}:00Z") for n in range(7)])
        assert [record["order_id"] for record in await api.records(SHIPMENTS)] == list(range(7))
        assert [record["order_id"] for record in await api.records(PAYMENTS)] == list(range(5))
        assert not await api.is_empty()
        server.reset()
        assert await api.is_empty()


def test_the_state_survives(tmp_path: Path) -> None:
    """Records are there after a restart to the last digit, though the server was killed in the middle of a write."""
    state = tmp_path / "commerce.json"
    server = CommerceServer.start(tmp_path, "--state", str(state))
    try:
        server.put('[{"payment_id":"a","amount":1.10,\n "big":12345678901234567890123}]')
        server.put([shipment(1, "10:00:00Z")], SHIPMENTS)
        server.replace([shipment(2, "10:00:00Z")], SHIPMENTS)
    finally:
        server.kill()
    with state.open("a", encoding="utf-8") as journal:
        journal.write('{"entity": "payments", "replace": true, "rec')
    for _ in range(2):
        with commerce_server(tmp_path, "--state", str(state)) as again:
            answer = again.get()
            assert answer["data"] == [{"payment_id": "a", "amount": 1.1, "big": 12345678901234567890123}]
            assert numbers(again.get("/shipments")) == [2]


@pytest.mark.parametrize(
    ("key", "state", "words"),
    [(None, None, "api-key: No such file"), ("", None, "is empty"), (KEY, "[]\n", "was not written by this server")],
)
def test_a_start_that_fails(tmp_path: Path, key: str | None, state: str | None, words: str) -> None:
    """A server that cannot start says why in one line."""
    arguments = ["--key-file", str(tmp_path / "api-key")]
    if key is not None:
        (tmp_path / "api-key").write_text(key, encoding="ascii")
    if state is not None:
        (tmp_path / "state").write_text(state, encoding="ascii")
        arguments += ["--state", str(tmp_path / "state")]
    done = subprocess.run([sys.executable, str(SERVER), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_there(server: CommerceServer) -> None:
    """The control plane says what is there and what was asked."""
    server.get(since="2026-01-15T10:03:00Z")
    assert server.log() == [
        {"entity": "payments", "params": {"since": "2026-01-15T10:03:00Z"}, "status": 200, "records": 2}
    ]
    assert json.dumps(server.get("/_control/stats")) == json.dumps(
        {"records": {"payments": 5, "shipments": 0}, "requests": 1, "statuses": {"200": 1}}
    )
