"""The key of an API: read again when it was refused, checked before it is sent, and never shown."""

import json
import traceback
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.runtime.failures import MissingObjectError, PermanentError, TemporaryError
from tests.rest_support import (
    KEY,
    PAYMENTS,
    SECRET,
    CommerceServer,
    Reader,
    open_reader,
    pipeline_of,
)

ALL = list(range(10))
OTHER_KEY = KEY[::-1]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_rotated_key(stocked: CommerceServer, reader: Reader, status: int) -> None:
    """A key that was replaced in mid-reading is read again, once, and the reading goes on."""
    await reader.numbers(pipeline_of(PAYMENTS, stocked.url))
    stocked.forget()
    stocked.keys(OTHER_KEY)
    reader.secrets.stored[SECRET] = json.dumps({"api_key": OTHER_KEY})
    stocked.faults({"status": status, "times": 1})
    assert await reader.numbers(pipeline_of(PAYMENTS, stocked.url)) == ALL
    assert [request["status"] for request in stocked.log()] == [status, 200, 200, 200, 200, 200]
    assert reader.time.waits == []


async def test_a_key_that_stays_refused(stocked: CommerceServer, reader: Reader) -> None:
    """A key that is refused and was not replaced is the end; so is a fresh one that is refused too."""
    stocked.keys("somebody else's")
    with pytest.raises(PermanentError, match="401: Unauthorized"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert len(stocked.log()) == 1
    reader.secrets.stored[SECRET] = OTHER_KEY
    with pytest.raises(PermanentError, match="401: Unauthorized"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert len(stocked.log()) == 3


async def test_an_api_without_a_key(stocked: CommerceServer, reader: Reader) -> None:
    """Where no secret is declared no key is sent."""
    with pytest.raises(PermanentError, match="401"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url, secret=None))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2hunter2hunter2!",
        "hunter2",
        '{"key": "hunter2hunter2hunter2"}',
        '{"api_key": 7, "hunter2',
        "hunter2é" * 5,
    ],
)
async def test_a_secret_that_is_no_key(stocked: CommerceServer, text: str) -> None:
    """A secret that holds no key is refused by its name before anything is asked, and is not shown."""
    async with open_reader(text) as reader:
        with pytest.raises(PermanentError, match=f"secret {SECRET} holds no API key: at least 20") as refused:
            await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    assert stocked.log() == []


async def test_a_secret_that_is_not_there(stocked: CommerceServer, reader: Reader) -> None:
    """A secret that does not exist fails with its name."""
    with pytest.raises(MissingObjectError, match="nowhere"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url, secret="nowhere"))  # noqa: S106 - a secret's name


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 401, "repeats_key": True},
        {"status": 403, "repeats_key": True},
        {"status": 402, "repeats_key": True, "message": "x" * 480},
        {"status": 500, "repeats_key": True},
        {"status": 429, "repeats_key": True, "retry_after": "100"},
        {"status": 200, "repeats_key": True},
        {"status": 302, "location": f"http://elsewhere.example/?key={KEY}"},
        {"status": 402, "body": '{"message": "key ' + "".join(f"\\u{ord(sign):04x}" for sign in KEY) + '"}'},
        {"cut_after": 10},
    ],
    ids=lambda rule: "-".join(f"{name}={str(value)[:20]}" for name, value in rule.items()),
)
async def test_the_key_is_never_shown(stocked: CommerceServer, reader: Reader, rule: dict[str, Any]) -> None:
    """Whatever the API repeats of a key, no error, no chained error and no line of the log holds a part of it."""
    stocked.faults(rule)
    with capture_logs() as lines, pytest.raises((PermanentError, TemporaryError)) as refused:
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    shown = "".join(traceback.format_exception(refused.value)) + str(lines)
    error: BaseException | None = refused.value
    while error is not None:
        shown += repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__
    assert KEY[:8] not in shown
    assert KEY[-8:] not in shown


async def test_no_key_of_a_rotation_is_shown(stocked: CommerceServer, reader: Reader) -> None:
    """Neither the key that was refused nor the fresh one that is refused too is shown."""
    await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    reader.secrets.stored[SECRET] = OTHER_KEY
    stocked.faults({"status": 401, "body": json.dumps({"message": f"Neither {KEY} nor {OTHER_KEY}"})})
    with pytest.raises(PermanentError, match=r"401: Neither \*+ nor \*+$"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
