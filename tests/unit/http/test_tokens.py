"""API keys: where they are found in a secret, and what is none."""

import json

import pytest

from services.runtime.failures import PermanentError
from services.runtime.http.tokens import ApiKey
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets

KEY = "0123456789abcdefghIJ"


@pytest.fixture
def secrets() -> FakeSecrets:
    """Secrets without any."""
    return FakeSecrets(ManualClock())


@pytest.mark.parametrize("text", [KEY, f" {KEY}\n", json.dumps({"api_key": KEY}), f'\n{{"api_key":"{KEY}","a":1}}'])
async def test_where_a_key_stands(secrets: FakeSecrets, text: str) -> None:
    """A secret is the key, or a JSON object that holds it."""
    secrets.stored["k"] = text
    assert (await ApiKey("k", secrets)()).get_secret_value() == KEY


@pytest.mark.parametrize(
    "text",
    ["", KEY[1:], f"{KEY}-", f"{KEY} {KEY}", KEY[1:] + "é", f"[{KEY}]", "{" + KEY, f'{{"key":"{KEY}"}}', "{" * 100_000],
)
async def test_what_is_no_key(secrets: FakeSecrets, text: str) -> None:
    """A secret without a key that an API gateway takes is refused by its name and is not shown."""
    secrets.stored["k"] = text
    with pytest.raises(PermanentError, match="secret k holds no API key") as refused:
        await ApiKey("k", secrets)()
    assert KEY[1:] not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None


async def test_a_fresh_key(secrets: FakeSecrets) -> None:
    """A key that was rotated is seen by a fresh read."""
    secrets.stored["k"] = KEY
    key = ApiKey("k", secrets)
    await key()
    secrets.stored["k"] = KEY[::-1]
    assert [(await key()).get_secret_value(), (await key(fresh=True)).get_secret_value()] == [KEY, KEY[::-1]]
