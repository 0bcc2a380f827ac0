"""The lean signer and the address rule, held equal to the SDK's own."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.loaders import create_loader
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.aws.addresses import BucketAddress
from services.runtime.aws.clients import Clients
from services.runtime.aws.signing import ReadSigner, SigningCredentials

HOST = "127.0.0.1:4566"
DESCRIPTIONS = create_loader()
"""Of the SDK's services; a loader reads each once."""
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(key=texts, version=st.none() | texts, etag=st.none() | tokens, token=st.none() | tokens, secret=tokens)
def test_signatures_equal_botocores(
    key: str, version: str | None, etag: str | None, token: str | None, secret: str
) -> None:
    """For any key, version, condition and credentials, S3 receives what the SDK would have sent."""
    path = f"/bucket/{quote(key)}"
    query = f"versionId={quote(version, safe='')}" if version else ""
    condition = {"if-match": f'"{etag}"'} if etag else {}
    theirs = AWSRequest("GET", f"http://{HOST}{path}" + (f"?{query}" if query else ""), headers=condition)
    S3SigV4Auth(Credentials("AKID", secret, token), "s3", "eu-west-1").add_auth(theirs)
    now = datetime.strptime(theirs.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = ReadSigner("eu-west-1").sign(
        SigningCredentials("AKID", secret, token), now, host=HOST, path=path, query=query, headers=condition
    )
    assert ours == {name.lower(): value for name, value in theirs.headers.items()}


def test_the_key_follows_day_and_secret() -> None:
    """A signer that lives past midnight or through a rotation signs as a fresh one would."""
    old, new = SigningCredentials("A", "one"), SigningCredentials("B", "two")
    days = [datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)]
    kept = ReadSigner("eu-west-1")
    for credentials in (old, new, old):
        for day in days:
            arguments: dict[str, Any] = {"host": HOST, "path": "/b/k", "query": "", "headers": {}}
            assert kept.sign(credentials, day, **arguments) == ReadSigner("eu-west-1").sign(
                credentials, day, **arguments
            )


class _SeenError(Exception):
    """Ends the SDK's request once its address is known."""


def _sdk_url(client: Any, bucket: str) -> str:
    seen: list[str] = []

    def look(request: Any, **_: Any) -> None:
        seen.append(request.url)
        raise _SeenError

    client.meta.events.register("before-send.s3.GetObject", look)
    with pytest.raises(_SeenError):
        client.get_object(Bucket=bucket, Key="k")
    return seen[0]


@pytest.mark.parametrize("bucket", ["plain-bucket", "dotted.bucket.name"])
@pytest.mark.parametrize(
    ("region", "environ"),
    [
        ("us-east-1", {}),
        ("eu-west-1", {}),
        ("cn-north-1", {}),
        ("us-gov-west-1", {}),
        ("eu-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}),
        ("eu-west-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://localhost:1", "AWS_ENDPOINT_URL_S3": "http://s3.internal:9000/"}),
        ("eu-west-1", {"AWS_ENDPOINT_URL_S3": "https://minio.example.com"}),
        ("eu-west-1", {"AWS_ENDPOINT_URL_S3": "http://[::1]:4566"}),
    ],
)
async def test_addresses_equal_the_sdks(
    monkeypatch: pytest.MonkeyPatch, region: str, environ: dict[str, str], bucket: str
) -> None:
    """Whatever the environment says, a bucket is asked where the SDK would have asked."""
    settings = {"AWS_DEFAULT_REGION": region, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **environ}
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    session = botocore.session.get_session()
    session.register_component("data_loader", DESCRIPTIONS)
    sdk = session.create_client("s3", config=Config(retries={"total_max_attempts": 1}))
    async with Clients("s3") as clients:
        address = BucketAddress.of(bucket, clients.s3)
    assert f"{address.origin}{address.path}k" == _sdk_url(sdk, bucket)


async def test_proxies_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY applies to AWS, and NO_PROXY to what it names."""
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "https_proxy": "http://proxy.example.com:3128",
        "no_proxy": "direct.s3.eu-west-1.amazonaws.com",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    async with Clients("s3") as clients:
        assert BucketAddress.of("bucket", clients.s3).proxy == "http://proxy.example.com:3128"
        assert BucketAddress.of("direct", clients.s3).proxy is None
