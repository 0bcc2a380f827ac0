"""How the bulk reader takes what S3 can answer, played by a server that answers as scripted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from contracts.segments import Occurrence
from services.runtime.aws.bulk_reads import BulkS3Reader
from services.runtime.aws.clients import Clients
from services.runtime.failures import (
    AccessDeniedError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    TidegateError,
    UnreachableError,
)

Refusal = tuple[int, str]


class ScriptedS3:
    """Answers each key's requests in the order scripted, the last answer for ever; unscripted keys hold b"good"."""

    def __init__(self) -> None:
        self.scripts: dict[str, deque[Refusal]] = {}
        self.requests: list[web.BaseRequest] = []
        self.open = 0
        self.most_open = 0
        self.headers: dict[str, str] = {}
        self.pause = 0.0

    def script(self, key: str, *answers: Refusal) -> Occurrence:
        """Set what a key answers; the occurrence to ask for."""
        self.scripts[key] = deque(answers)
        return Occurrence(bucket="bucket", key=key, version_id="v1")

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.requests.append(request)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.pause)
            return await self._answer(request)
        finally:
            self.open -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        script = self.scripts.get(request.path.removeprefix("/bucket/"))
        if not script:
            return web.Response(body=b"good")
        status, code = script.popleft() if len(script) > 1 else script[0]
        if code == "CUT":
            return await _cut_short(request)
        if status == 200:
            return web.Response(body=code.encode())
        body = f"<Error><Code>{code}</Code><Message>says &quot;S3&quot;</Message></Error>" if code else ""
        return web.Response(status=status, text=body, headers=self.headers)


async def _cut_short(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport
    request.transport.close()
    return answer


@asynccontextmanager
async def _serving(s3: ScriptedS3) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(s3))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def s3() -> ScriptedS3:
    """The server's script and memory."""
    return ScriptedS3()


@pytest.fixture
async def reader(s3: ScriptedS3, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BulkS3Reader]:
    """A reader that tries twice."""
    async with _serving(s3) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        _identify(monkeypatch)
        async with Clients() as clients, BulkS3Reader(clients.s3, attempts=2) as reader:
            yield reader


def _identify(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session/token==",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", AccessDeniedError),
        (403, "", AccessDeniedError),
        (403, "SomethingNew", AccessDeniedError),
        (400, "ExpiredToken", AccessDeniedError),
        (403, "SignatureDoesNotMatch", AccessDeniedError),
        (503, "SlowDown", TemporaryError),
        (500, "", TemporaryError),
        (502, "", TemporaryError),
        (429, "", TemporaryError),
        (400, "AuthorizationHeaderMalformed", PermanentError),
    ],
)
async def test_a_refusal_of_all_is_raised(
    s3: ScriptedS3, reader: BulkS3Reader, status: int, code: str, expected: type[TidegateError]
) -> None:
    """What says nothing of the object itself ends the read, with a text that names the object."""
    occurrence = s3.script("refused", (status, code))
    with pytest.raises(TidegateError, match="s3://bucket/refused") as caught:
        await reader.read_many([occurrence], in_flight=1)
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", MissingObjectError),
        (404, "NoSuchVersion", MissingObjectError),
        (404, "", MissingObjectError),
        (405, "MethodNotAllowed", MissingObjectError),
        (400, "InvalidArgument", MissingObjectError),
        (412, "PreconditionFailed", MissingObjectError),
        (403, "InvalidObjectState", PermanentError),
    ],
)
async def test_a_refusal_of_one_stays_in_its_place(
    s3: ScriptedS3, reader: BulkS3Reader, status: int, code: str, expected: type[PermanentError]
) -> None:
    """A missing, replaced, unknown or archived object is an error in the list, asked for once; the rest is read."""
    good, bad = s3.script("good", (200, "body")), s3.script("bad", (status, code))
    first, second, third = await reader.read_many([good, bad, good], in_flight=1)
    assert (first, third) == (b"body", b"body")
    assert type(second) is expected
    assert "s3://bucket/bad" in str(second)
    assert len(s3.requests) == 3


async def test_a_busy_store_is_asked_again(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """Throttling and server errors pass when a later attempt succeeds."""
    occurrences = [s3.script("a", (503, "SlowDown"), (200, "a")), s3.script("b", (500, "InternalError"), (200, "b"))]
    assert await reader.read_many(occurrences, in_flight=2) == [b"a", b"b"]


async def test_half_an_answer_is_no_answer(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """A body shorter than announced is read again, and is never returned."""
    once, always = s3.script("once", (200, "CUT"), (200, "whole")), s3.script("always", (200, "CUT"))
    assert await reader.read_many([once], in_flight=1) == [b"whole"]
    with pytest.raises(UnreachableError, match="s3://bucket/always"):
        await reader.read_many([always], in_flight=1)


async def test_a_bucket_elsewhere_is_located(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """A redirect is not followed with our signature; the text says which region to configure."""
    s3.headers = {"x-amz-bucket-region": "ap-south-1", "Location": "http://127.0.0.1:1/elsewhere"}
    with pytest.raises(PermanentError, match="the bucket is in ap-south-1"):
        await reader.read_many([s3.script("k", (301, "PermanentRedirect"))], in_flight=1)


async def test_no_more_is_in_flight_than_allowed(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """The bound is reached and kept."""
    s3.pause = 0.02
    occurrences = [s3.script(f"k{number}", (200, "x")) for number in range(30)]
    await reader.read_many(occurrences, in_flight=5)
    assert s3.most_open == 5


async def test_nothing_more_is_asked_after_a_refusal_of_all(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """One AccessDenied stops the other reads too, at once."""
    occurrences = [s3.script("denied", (403, "AccessDenied"))] + [s3.script(f"k{n}", (200, "x")) for n in range(100)]
    with pytest.raises(AccessDeniedError):
        await reader.read_many(occurrences, in_flight=2)
    asked = len(s3.requests)
    assert asked < 50
    assert await reader.read_many([s3.script("after", (200, "usable"))], in_flight=1) == [b"usable"]
    assert len(s3.requests) == asked + 1


async def test_an_etag_is_a_condition_only_without_a_version(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """A version id pins by itself; ``null``, which later puts reuse, is pinned by the ETag as well."""
    occurrence = s3.script("k", (200, "x")).model_copy(update={"etag": "e"})
    variants = [occurrence.model_copy(update={"version_id": version}) for version in ("v1", "null", None)]
    await reader.read_many(variants, in_flight=1)
    assert [(r.query_string, r.headers.get("If-Match")) for r in s3.requests] == [
        ("versionId=v1", None),
        ("versionId=null", '"e"'),
        ("", '"e"'),
    ]


async def test_temporary_credentials_are_presented(s3: ScriptedS3, reader: BulkS3Reader) -> None:
    """The session token is sent and signed, for the region of the environment."""
    await reader.read_many([s3.script("k", (200, "x"))], in_flight=1)
    (request,) = s3.requests
    assert request.headers["x-amz-security-token"] == "session/token=="
    authorization = request.headers["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/s3/aws4_request" in authorization
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in authorization


async def test_nobody_listening_is_unreachable(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    """An endpoint that does not answer is an UnreachableError that names what was read."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
    _identify(monkeypatch)
    async with Clients() as clients, BulkS3Reader(clients.s3, attempts=2) as reader:
        with pytest.raises(UnreachableError, match="s3://bucket/k"):
            await reader.read_many([Occurrence(bucket="bucket", key="k", version_id="v")], in_flight=1)


async def test_no_credentials_are_access_denied(
    s3: ScriptedS3, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where no provider has credentials, the operator is told, and nothing is asked."""
    nothing = str(tmp_path_factory.mktemp("home") / "absent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", nothing)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    async with _serving(s3) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        async with Clients() as clients, BulkS3Reader(clients.s3) as reader:
            with pytest.raises(AccessDeniedError, match="credentials"):
                await reader.read_many([Occurrence(bucket="bucket", key="k", version_id="v")], in_flight=1)
    assert s3.requests == []
