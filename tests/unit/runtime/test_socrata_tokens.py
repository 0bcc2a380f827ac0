"""The portal's application token: where it comes from, where it goes, and where it must never be seen."""

import traceback

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.runtime.failures import MissingObjectError, PermanentError, TemporaryError
from services.runtime.socrata.tokens import AppToken
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.unit.runtime.scripted_portal import Bench, Reply, ScriptedToken, open_bench

OLD, NEW = "hunter2-old", "hunter2-new"


async def _page_twice(bench: Bench) -> None:
    await bench.page()
    await bench.page()


async def test_the_token_is_a_header_and_not_a_parameter() -> None:
    """The token goes with each request, in its header only."""
    async with open_bench(token=ScriptedToken(OLD)) as bench:
        await _page_twice(bench)
        assert bench.portal.tokens == [OLD, OLD]
        assert not any(OLD in str(request.rel_url) for request in bench.portal.requests)


async def test_without_a_token_there_is_no_header() -> None:
    """Nobody's token is no header, not an empty one."""
    async with open_bench() as bench:
        await bench.page()
        assert bench.portal.tokens == [None]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_replaced_token_is_read_again(status: int) -> None:
    """A refused token is read afresh, once, and the page goes on with the new one without a wait."""
    token = ScriptedToken(NEW, cached=OLD)
    async with open_bench(token=token) as bench:
        bench.portal.replies(Reply(status), Reply())
        assert (await bench.page()).rows == 2
        assert (bench.portal.tokens, token.reads, bench.time.waits) == ([OLD, NEW], [False, True], [])


async def test_a_token_that_stays_refused() -> None:
    """A new token that is refused, too, is a PermanentError, and the secret is not read a third time."""
    token = ScriptedToken(NEW, cached=OLD)
    async with open_bench(token=token) as bench:
        bench.portal.replies(Reply(403, b'{"message":"Invalid app_token specified"}'))
        with pytest.raises(PermanentError, match="403: Invalid app_token specified"):
            await bench.page()
        assert (bench.portal.tokens, token.reads) == ([OLD, NEW], [False, True])


async def test_a_token_that_did_not_change_is_not_tried_again() -> None:
    """If the secret still holds what was refused, the refusal is final."""
    token = ScriptedToken(OLD)
    async with open_bench(token=token) as bench:
        bench.portal.replies(Reply(403))
        with pytest.raises(PermanentError, match="403"):
            await bench.page()
        assert (bench.portal.tokens, token.reads) == ([OLD], [False, True])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, f'{{"message":"Token {NEW} and {OLD} are not allowed"}}'.encode()),
        Reply(400, f'{{"message":"Token {OLD} may not ask this"}}'.encode()),
        Reply(503, f'{{"message":"Token {OLD} must wait"}}'.encode()),
        Reply(302, headers={"Location": f"https://elsewhere.example/?$$app_token={OLD}"}),
        Reply(200, f"<html>{OLD}</html>".encode()),
        Reply(200, cut=1),
    ],
    ids=["forbidden", "bad-request", "busy", "redirect", "html", "cut"],
)
async def test_a_token_is_never_shown(reply: Reply) -> None:
    """Whatever the portal repeats of a token, no error, no chained error and no line of the log holds it."""
    async with open_bench(token=ScriptedToken(NEW, cached=OLD)) as bench:
        bench.portal.replies(reply)
        with capture_logs() as lines, pytest.raises((PermanentError, TemporaryError)) as refused:
            await bench.page()
        shown = "".join(traceback.format_exception(refused.value)) + str(lines)
        error: BaseException | None = refused.value
        while error is not None:
            shown += repr(error) + str(vars(error))
            error = error.__cause__ or error.__context__
        assert OLD not in shown
        assert NEW not in shown


async def test_settings_name_a_token() -> None:
    """A setting is the token, or names the secret that holds it, or is empty and there is none."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["socrata/token"] = f"{NEW}\n"
    assert await AppToken(None, secrets)() is None
    assert await AppToken(SecretStr(" "), secrets)(fresh=True) is None
    for setting, expected in ((f" {OLD} ", OLD), ("secretsmanager:socrata/token", NEW)):
        token = await AppToken(SecretStr(setting), secrets)()
        assert token is not None
        assert token.get_secret_value() == expected


async def test_a_secret_is_read_afresh_when_it_was_refused() -> None:
    """Only a fresh read sees a secret that was rotated since it was cached."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["t"] = OLD
    token = AppToken(SecretStr("secretsmanager:t"), secrets)
    assert (await token() or SecretStr("")).get_secret_value() == OLD
    secrets.stored["t"] = NEW
    assert (await token() or SecretStr("")).get_secret_value() == OLD
    assert (await token(fresh=True) or SecretStr("")).get_secret_value() == NEW


async def test_a_secret_that_is_not_there() -> None:
    """A setting that names no secret fails with the name before anything is sent."""
    async with open_bench(token=AppToken(SecretStr("secretsmanager:nowhere"), FakeSecrets(ManualClock()))) as bench:
        with pytest.raises(MissingObjectError, match="nowhere"):
            await bench.page()
        assert bench.portal.requests == []


@pytest.mark.parametrize("text", [" ", f"{OLD}\n{OLD}", f"{OLD}\u20ac"])
async def test_a_secret_that_is_no_token(text: str) -> None:
    """A secret that no header can carry is refused by its name, without showing it."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["t"] = text
    with pytest.raises(PermanentError, match="secret t is not an application token") as refused:
        await AppToken(SecretStr("secretsmanager:t"), secrets)()
    assert OLD not in str(refused.value)
