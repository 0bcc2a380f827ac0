"""How bodies reach S3 over TLS, which no emulator here speaks: with one proof of what they are, and no other."""

from collections.abc import AsyncIterator
from hashlib import sha256
from tempfile import TemporaryFile
from typing import Any

import pytest

from services.runtime.aws.clients import Clients
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.multipart import PART_MIN, Upload

BODY = b"x" * PART_MIN


class _AboutToSendError(Exception):
    """Nothing is sent: there is nobody at the address."""


@pytest.fixture
async def clients(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    """Clients of a store that would be spoken to over TLS."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "https://store.example.com",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)
    async with Clients("s3") as opened:
        yield opened


@pytest.fixture
def sent(clients: Clients) -> dict[str, str]:
    """Headers of the request that was about to be sent, names in lower case."""
    headers: dict[str, str] = {}

    def see(request: Any, **_: Any) -> None:
        for name, value in request.headers.items():
            headers[name.lower()] = value.decode() if isinstance(value, bytes) else value
        raise _AboutToSendError

    clients.s3.meta.events.register("before-send.s3", see)
    return headers


async def test_a_part_is_proven_by_its_signature_alone(clients: Clients, sent: dict[str, str]) -> None:
    """Its SHA-256 is signed; a checksum that the upload does not know of would end in a refusal."""
    with pytest.raises(_AboutToSendError):
        await S3Multipart(clients.s3).put_part(Upload("bucket", "key", "upload", {"commit": "1"}), 1, BODY)
    assert sent["x-amz-content-sha256"] == sha256(BODY).hexdigest()
    assert not any(name.startswith(("x-amz-checksum", "x-amz-trailer", "x-amz-sdk-checksum")) for name in sent)


async def test_a_file_is_sent_with_its_length(clients: Clients, sent: dict[str, str]) -> None:
    """A spooled segment goes out in one piece, under the SHA-256 of all of it."""
    with TemporaryFile() as file:
        file.write(BODY)
        with pytest.raises(_AboutToSendError):
            await S3Objects(clients.s3).put("bucket", "key", file)
    assert sent["x-amz-content-sha256"] == sha256(BODY).hexdigest()
    assert sent["content-length"] == str(len(BODY))
    assert "content-encoding" not in sent
