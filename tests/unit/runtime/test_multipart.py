from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from contracts.topology import TOPOLOGY
from services.console.local.documents import lifecycle
from services.runtime.aws.multipart import S3Multipart
from services.runtime.failures import (
    AccessDeniedError,
    ConflictError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    TidegateError,
)
from services.runtime.multipart import COPY_MAX, COPY_MIN, IN_FLIGHT, MIB, Part, Upload, cuts

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

UPLOAD = Upload("bucket", "key", "upload", {"commit": "mine"})


@given(st.integers(0, 1 << 20), st.integers(0, 40 * COPY_MAX))
def test_cuts_are_equal_and_leave_nothing_out(start: int, length: int) -> None:
    """Together they are the range, in order; no cut is too small where there is enough, and none too large."""
    found = cuts(start, start + length)
    assert [edge for cut in found for edge in cut][:1] == ([start] if length else [])
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert sum(high - low for low, high in found) == length
    sizes = {high - low for low, high in found}
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert all(min(COPY_MIN, length) <= size <= COPY_MAX for size in sizes)


@pytest.mark.parametrize(
    ("mebibytes", "number"), [(0, 0), (1, 1), (19, 1), (20, 2), (80, 8), (2048, 8), (2049, 9), (10_240, 40)]
)
def test_cuts_are_as_many_as_are_copied_at_once(mebibytes: int, number: int) -> None:
    """Below 80 MiB and above 2 GiB the size of a copy decides."""
    assert len(cuts(0, mebibytes * MIB)) == number
    assert IN_FLIGHT == 8


class Refusing:
    """A client that refuses what it is told to; a reading of the object finds what ``standing`` says."""

    def __init__(self, code: str, status: int, standing: dict[str, Any] | None = None) -> None:
        self._refusal = {
            "Error": {"Code": code, "Message": "no"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        self._standing = standing

    def store(self) -> S3Multipart:
        """The adapter over this client."""
        return S3Multipart(cast("S3Client", self))

    async def head_object(self, **_: object) -> dict[str, Any]:
        """What stands there."""
        if self._standing is None:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"ETag": '"new"', "ContentLength": 1, **self._standing}

    async def head_bucket(self, **_: object) -> None:
        """The bucket is there."""

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[object]]:
        async def refuse(**_: object) -> object:
            raise ClientError(cast("Any", self._refusal), operation)

        return refuse


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("PreconditionFailed", 412, ConflictError),
        ("ConditionalRequestConflict", 409, ConflictError),
        ("OperationAborted", 409, ConflictError),
        ("NoSuchKey", 404, ConflictError),
        ("NoSuchUpload", 404, ConflictError),
        ("SlowDown", 503, TemporaryError),
        ("InternalError", 500, TemporaryError),
        ("NoSuchBucket", 404, MissingObjectError),
        ("AccessDenied", 403, AccessDeniedError),
        ("InvalidPart", 400, PermanentError),
    ],
)
async def test_a_refused_completion_is_named_by_what_happens_next(
    code: str, status: int, kind: type[TidegateError]
) -> None:
    """Whatever S3 says; and what can follow a first try that won is success where the object is ours."""
    part = Part(1, "e", 1)
    for standing in (None, {"Metadata": {"commit": "other"}}, {"Metadata": {"commit": "mine"}, "ETag": '"old"'}):
        with pytest.raises(kind, match=f"s3://bucket/key.*{code}") as refusal:
            await Refusing(code, status, standing).store().complete(UPLOAD, [part], if_match="old")
        assert type(refusal.value) is kind
    mine = Refusing(code, status, {"Metadata": {"commit": "mine"}}).store()
    if kind in {ConflictError, TemporaryError}:
        assert (await mine.complete(UPLOAD, [part], if_match="old")).etag == "new"
    else:
        with pytest.raises(kind):
            await mine.complete(UPLOAD, [part], if_match="old")


async def test_an_upload_without_metadata_claims_nothing() -> None:
    """What was found in a listing cannot tell its own object from another's."""
    found = Upload("bucket", "key", "upload")
    with pytest.raises(ConflictError):
        await Refusing("NoSuchUpload", 404, {"Metadata": {}}).store().complete(found, [Part(1, "e", 1)], if_match="old")


def test_buckets_that_are_merged_into_free_abandoned_uploads() -> None:
    """A day after a merger was killed, S3 removes the parts it left; other buckets get no parts."""
    days = {bucket.name: bucket.abort_incomplete_days for bucket in TOPOLOGY.buckets}
    assert {name for name, value in days.items() if value is not None} == {"checkpoints", "processed"}
    for bucket in TOPOLOGY.buckets:
        aborts = [
            rule["AbortIncompleteMultipartUpload"] for rule in lifecycle(bucket) if rule["ID"].startswith("abort")
        ]
        assert aborts == ([{"DaysAfterInitiation": 1}] if days[bucket.name] else [])
