"""Many small S3 objects at once, over aiohttp with our own signatures (see docs/decisions/0002).

Addresses, region, credentials, certificates and proxies are the SDK's; only the request path is ours.
"""

import asyncio
import html
import random
import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import aiohttp
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import get_cert_path
from yarl import URL

from contracts.segments import Occurrence
from services.runtime.aws.addresses import BucketAddress
from services.runtime.aws.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from services.runtime.aws.errors import ARCHIVED, code_of, translate, translated
from services.runtime.aws.signing import ReadSigner, SigningCredentials
from services.runtime.failures import (
    ConflictError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    UnreachableError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from aiobotocore.credentials import AioCredentials
    from types_aiobotocore_s3 import S3Client

ATTEMPTS = 4
MAX_BACKOFF_S = 20

_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_UNPINNED = {None, "", "null"}
"""Version ids that name whatever was last written without versioning."""
_NOT_THERE = {"MethodNotAllowed", "InvalidArgument", "KeyTooLongError"}
"""What S3 says of a delete marker, of a version id it never gave out, and of a key it cannot hold."""
_REDIRECTS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.BAD_REQUEST}
"""How S3 answers a request that went to the wrong region."""


class BulkS3Reader:
    """Async context manager; connections are opened as they are needed and kept until it ends.

    ``s3`` lends its settings (endpoint, region, addressing), not its connections. ``attempts`` is how often a read is
    tried on network trouble, throttling and server errors, with the SDK's standard jittered back-off.
    """

    def __init__(self, s3: "S3Client", *, attempts: int = ATTEMPTS) -> None:
        self._s3 = s3
        self._attempts = attempts
        self._sdk = AioSession()
        self._signer = ReadSigner(s3.meta.region_name)
        self._addresses: dict[str, BucketAddress] = {}
        self._http: aiohttp.ClientSession
        self._credentials: AioCredentials | None = None

    async def __aenter__(self) -> Self:
        certificates = get_cert_path(self._sdk.get_config_variable("ca_bundle") or True)
        self._http = aiohttp.ClientSession(
            # Callers bound what is in flight; a second bound here would only hide theirs.
            connector=aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=certificates)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        await self._http.close()

    async def read_many(self, occurrences: Sequence[Occurrence], *, in_flight: int) -> list[bytes | PermanentError]:
        """The bytes of each occurrence, in order, each pinned to its version (or its ETag).

        Raises:
            AccessDeniedError: S3 refused one of them.
            UnreachableError: no answer after the last attempt.
            TemporaryError: S3 was still busy at the last attempt.
            PermanentError: a refusal that says nothing of the object, such as a bucket in another region.
            ValueError: ``in_flight`` is less than 1.
        """
        if in_flight < 1:
            raise ValueError("in_flight must be at least 1")
        if self._credentials is None:  # found once, here: the workers would all ask the metadata service
            await self._signing_credentials()
        results: dict[int, bytes | PermanentError] = {}
        waiting = iter(enumerate(occurrences))

        async def work() -> None:
            for index, occurrence in waiting:
                results[index] = await self._read(occurrence)

        workers = [asyncio.create_task(work()) for _ in range(min(in_flight, len(occurrences)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[index] for index in range(len(occurrences))]

    async def _read(self, occurrence: Occurrence) -> bytes | PermanentError:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._ask(occurrence)
            except (UnreachableError, TemporaryError):
                if attempt == self._attempts:
                    raise
            await asyncio.sleep(random.random() * min(2 ** (attempt - 1), MAX_BACKOFF_S))  # noqa: S311 - jitter

    async def _ask(self, occurrence: Occurrence) -> bytes | PermanentError:
        address = self._address(occurrence.bucket)
        path = address.path + quote(occurrence.key)
        query = f"versionId={quote(occurrence.version_id, safe='')}" if occurrence.version_id else ""
        condition = {}
        if occurrence.version_id in _UNPINNED and occurrence.etag:
            condition["if-match"] = f'"{occurrence.etag}"'
        headers = self._signer.sign(
            await self._signing_credentials(),
            datetime.now(UTC),
            host=address.host,
            path=path,
            query=query,
            headers=condition,
        )
        url = URL(f"{address.origin}{path}?{query}" if query else f"{address.origin}{path}", encoded=True)
        try:
            async with self._http.get(url, headers=headers, proxy=address.proxy, allow_redirects=False) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:  # a wait that timed out is an OSError too
            raise UnreachableError(f"GetObject {occurrence.uri}: {error or type(error).__name__}") from error
        return body if answer.status == HTTPStatus.OK else _refusal(occurrence, answer, body)

    def _address(self, bucket: str) -> BucketAddress:
        address = self._addresses.get(bucket)
        if address is None:
            address = self._addresses[bucket] = BucketAddress.of(bucket, self._s3)
        return address

    async def _signing_credentials(self) -> SigningCredentials:
        with translated("S3 credentials"):
            if self._credentials is None:
                self._credentials = await self._sdk.get_credentials()
            if self._credentials is None:
                raise NoCredentialsError
            # Temporary credentials are renewed here when they are about to expire.
            access_key, secret_key, token, *_ = await self._credentials.get_frozen_credentials()
            if not access_key or not secret_key:
                raise NoCredentialsError
        return SigningCredentials(access_key, secret_key, token)


def _refusal(occurrence: Occurrence, answer: aiohttp.ClientResponse, body: bytes) -> PermanentError:
    """What S3's refusal means for this one object.

    Raises:
        TidegateError: what it means for all of them.
    """
    text = body.decode(errors="replace")
    code, message = _CODE.search(text), _MESSAGE.search(text)
    region = answer.headers.get("x-amz-bucket-region")
    error = ClientError(
        {
            "Error": {
                "Code": code[1] if code else str(answer.status),
                "Message": (html.unescape(message[1]) if message else answer.reason or "")
                + (f" (the bucket is in {region})" if answer.status in _REDIRECTS and region else ""),
            },
            "ResponseMetadata": {
                "RequestId": answer.headers.get("x-amz-request-id", ""),
                "HostId": "",
                "HTTPStatusCode": answer.status,
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "GetObject",
    )
    what = f"GetObject {occurrence.uri}" + (f" version {occurrence.version_id}" if occurrence.version_id else "")
    meaning = translate(error, what)
    if isinstance(meaning, ConflictError):
        return MissingObjectError(f"{meaning} (replaced since ETag {occurrence.etag})")
    if code_of(error) in _NOT_THERE:
        return MissingObjectError(str(meaning))
    if isinstance(meaning, MissingObjectError):
        return meaning
    if isinstance(meaning, PermanentError) and code_of(error) == ARCHIVED:
        return meaning
    raise meaning
