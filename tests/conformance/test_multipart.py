"""What every MultipartStore does with parts and ranges, held against the fake, the emulator and LocalStack."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from contracts.topology import TOPOLOGY
from services.runtime.aws.errors import code_of
from services.runtime.aws.multipart import S3Multipart
from services.runtime.failures import AccessDeniedError, ConflictError, MalformedError, MissingObjectError
from services.runtime.multipart import PART_MIN, PARTS_MAX, MultipartStore, Part, Upload
from services.runtime.objects import IF_ABSENT
from tests.conformance.multipart_bench import FUTURE, KEPT, NEW, OLD, PAST, TYPE, Bench
from tests.conformance.multipart_worlds import InMemory, OnEmulator, OnLocalStack
from tests.conformance.test_objects import NOWHERE

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

ELSEWHERE = Upload(NOWHERE, "k", "upload", {"commit": "c"})
NOT_PARTS = {
    "none": [],
    "one twice": [Part(1, "e", PART_MIN), Part(1, "f", 1)],
    "a small one before the last": [Part(2, "e", 1), Part(1, "f", PART_MIN - 1)],
}


class PartsConformance:
    """Subclasses provide the ``bench`` fixture."""

    @pytest.mark.parametrize(("start", "end"), [(0, 8), (8, 13), (KEPT, len(OLD)), (0, len(OLD))])
    async def test_a_range_is_exactly_its_bytes(self, bench: Bench, start: int, end: int) -> None:
        """The range ends before ``end``, of the object that has this ETag and of the version that had it."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            assert await bench.store.read_range(bucket, bench.key, start, end, if_match=old.etag) == OLD[start:end]
        await bench.objects.put(bench.versioned, bench.key, b"replaced")
        read = partial(bench.store.read_range, bench.versioned, bench.key, start, end, if_match=old.etag)
        assert await read(version_id=old.version_id) == OLD[start:end]

    async def test_a_range_of_another_object_is_a_conflict(self, bench: Bench) -> None:
        """What was replaced or deleted since it was looked at is not read."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            await bench.objects.put(bucket, bench.key, b"replaced")
            with pytest.raises(ConflictError, match=bench.key):
                await bench.store.read_range(bucket, bench.key, 0, 4, if_match=old.etag)
            await bench.objects.delete(bucket, bench.key)
            with pytest.raises(ConflictError, match=bench.key):
                await bench.store.read_range(bucket, bench.key, 0, 4, if_match=old.etag)

    @pytest.mark.parametrize(("start", "end"), [(-1, 4), (4, 4), (5, 4), (9, 11), (10, 11), (99, 100)])
    async def test_a_range_beyond_the_object_is_refused(self, bench: Bench, start: int, end: int) -> None:
        """Fewer bytes than were asked for are never handed over, neither by a read nor by a copy."""
        small = await bench.objects.put(bench.plain, bench.key, b"0123456789")
        with pytest.raises(MalformedError, match=bench.key):
            await bench.store.read_range(bench.plain, bench.key, start, end, if_match=small.etag)
        upload = await bench.begin(bench.plain)
        with pytest.raises(MalformedError, match=bench.key):
            await bench.store.copy_part(upload, 1, small, start, end)

    async def test_an_object_is_replaced_by_its_start_and_new_bytes(self, bench: Bench) -> None:
        """Body, ETag, size, version, metadata and type of the new object are those that the completion reports."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            upload, parts = await bench.filled(bucket, old)
            assert (parts[0].size, parts[1].size) == (KEPT, len(NEW) + 3)
            made = await bench.store.complete(upload, parts, if_match=old.etag)
            found = await bench.objects.get(bucket, bench.key)
            assert found.body == OLD[:KEPT] + NEW + b"new"
            assert replace(found.info, last_modified=None) == replace(made, last_modified=None)
            assert dict(made.metadata) == {"commit": "new"}
            assert await bench.content_type(bucket, bench.key) == TYPE
            assert await bench.pending(bucket) == []

    async def test_parts_are_put_together_by_number(self, bench: Bench) -> None:
        """The order in which parts were sent and are named does not count, and a part sent twice is the later one."""
        old = await bench.objects.put(bench.plain, bench.key, b"old")
        upload = await bench.begin(bench.plain)
        last = await bench.store.put_part(upload, 7, b"end")
        await bench.store.put_part(upload, 3, b"x" * PART_MIN)
        first = await bench.store.put_part(upload, 3, b"y" * PART_MIN)
        await bench.store.complete(upload, [last, first], if_match=old.etag)
        assert (await bench.objects.get(bench.plain, bench.key)).body == b"y" * PART_MIN + b"end"

    async def test_parts_go_side_by_side(self, bench: Bench) -> None:
        """Parts that are copied and sent at once make the object that they make one by one."""
        old = await bench.old(bench.plain)
        upload = await bench.begin(bench.plain)
        parts = await asyncio.gather(
            bench.store.copy_part(upload, 1, old, 0, KEPT),
            bench.store.put_part(upload, 2, b"2" * PART_MIN),
            bench.store.copy_part(upload, 3, old, 1, KEPT + 1),
            bench.store.put_part(upload, 4, b"4"),
        )
        assert [part.number for part in parts] == [1, 2, 3, 4]
        await bench.store.complete(upload, parts, if_match=old.etag)
        body = (await bench.objects.get(bench.plain, bench.key)).body
        assert body == OLD[:KEPT] + b"2" * PART_MIN + OLD[1 : KEPT + 1] + b"4"

    @pytest.mark.parametrize("parts", NOT_PARTS.values(), ids=NOT_PARTS.keys())
    async def test_parts_that_make_no_object_are_not_sent(self, bench: Bench, parts: list[Part]) -> None:
        """A completion that S3 would refuse is a MalformedError that names the object, and nothing happens."""
        old = await bench.old(bench.plain)
        upload, carried = await bench.begin(bench.plain), bench.network.carried
        with pytest.raises(MalformedError, match=bench.key):
            await bench.faulty.complete(upload, parts, if_match=old.etag)
        assert bench.network.carried == carried
        assert await bench.pending(bench.plain) != []

    async def test_what_is_no_part_is_refused(self, bench: Bench) -> None:
        """A part needs bytes and a number from 1 to 10,000, whether sent or copied."""
        old = await bench.old(bench.plain)
        upload = await bench.begin(bench.plain)
        with pytest.raises(MalformedError, match="bytes"):
            await bench.store.put_part(upload, 1, b"")
        for number in (0, PARTS_MAX + 1):
            with pytest.raises(MalformedError, match="number"):
                await bench.store.put_part(upload, number, b"x")
            with pytest.raises(MalformedError, match="number"):
                await bench.store.copy_part(upload, number, old, 0, 1)

    @pytest.mark.parametrize("metadata", [{}, {"Commit": "c"}, {"commit": "ü"}, {"commit": " c"}, {"commit": "c\n"}])
    async def test_metadata_that_would_not_come_back_is_refused(
        self, bench: Bench, metadata: Mapping[str, str]
    ) -> None:
        """An upload that could not be recognised afterwards is not begun."""
        with pytest.raises(MalformedError, match="metadata"):
            await bench.store.begin(bench.plain, bench.key, metadata=metadata, content_type=TYPE)
        assert await bench.pending(bench.plain) == []

    async def test_aborting_twice_is_aborting_once(self, bench: Bench) -> None:
        """An upload that was aborted takes nothing any more; aborting it again, or what is completed, is no error."""
        old = await bench.old(bench.plain)
        upload, parts = await bench.filled(bench.plain, old)
        assert [found.upload_id for found in await bench.pending(bench.plain)] == [upload.upload_id]
        for _ in range(2):
            await bench.store.abort(upload)
        assert await bench.pending(bench.plain) == []
        for call in (
            bench.store.put_part(upload, 2, b"x"),
            bench.store.copy_part(upload, 1, old, 0, KEPT),
            bench.store.complete(upload, parts, if_match=old.etag),
        ):
            with pytest.raises(ConflictError, match=bench.key):
                await call
        upload, parts = await bench.filled(bench.plain, old)
        await bench.store.complete(upload, parts, if_match=old.etag)
        await bench.store.abort(upload)
        assert await bench.commit_of(bench.plain) == "new"

    async def test_abandoned_uploads_are_found_by_age_and_place(self, bench: Bench) -> None:
        """What was begun before a moment under a prefix is listed, and can be aborted from the list."""
        keys = {f"{bench.key}/{name}" for name in ("a b", "ü", "c")}
        for key in keys:
            await bench.store.begin(bench.versioned, key, metadata={"commit": "c"}, content_type=TYPE)
        assert await bench.store.abandoned(bench.versioned, bench.key, PAST) == []
        assert await bench.store.abandoned(bench.plain, bench.key, FUTURE) == []
        assert [u.key for u in await bench.store.abandoned(bench.versioned, f"{bench.key}/c", FUTURE)] == [
            f"{bench.key}/c"
        ]
        found = await bench.store.abandoned(bench.versioned, bench.key, FUTURE)
        assert {upload.key for upload in found} == keys
        for upload in found:
            await bench.store.abort(upload)
        assert await bench.pending(bench.versioned) == []

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.read_range(NOWHERE, "k", 0, 1, if_match="e"),
            lambda store: store.begin(NOWHERE, "k", metadata={"commit": "c"}, content_type=TYPE),
            lambda store: store.put_part(ELSEWHERE, 1, b"x"),
            lambda store: store.abandoned(NOWHERE, "", FUTURE),
        ],
        ids=["read", "begin", "put", "abandoned"],
    )
    async def test_a_missing_bucket_is_named(
        self, bench: Bench, call: Callable[[MultipartStore], Awaitable[object]]
    ) -> None:
        """Whatever is asked of a bucket that does not exist says so; it is never a conflict."""
        with pytest.raises(MissingObjectError, match=NOWHERE):
            await call(bench.store)

    async def test_a_refusal_is_access_denied(self, bench: Bench) -> None:
        """A refused call is an AccessDeniedError that names the bucket; a completion does not call it a conflict."""
        upload = await bench.begin(bench.plain)
        part = await bench.store.put_part(upload, 1, b"x")
        for call in (
            bench.denied.begin(bench.plain, bench.key, metadata={"commit": "c"}, content_type=TYPE),
            bench.denied.put_part(upload, 1, b"x"),
            bench.denied.complete(upload, [part], if_match=IF_ABSENT),
            bench.denied.abort(upload),
        ):
            with pytest.raises(AccessDeniedError, match=bench.plain):
                await call


class TestFakeMultipart(InMemory, PartsConformance):
    """The fake keeps the contract."""


class TestS3Multipart(OnEmulator, PartsConformance):
    """S3 through the emulator keeps the contract."""

    async def test_encryption_is_settled_at_the_beginning(self, bench: Bench, s3: "S3Client") -> None:
        """A named KMS key holds for the object that the parts make; without one the bucket's own rule does."""
        await s3.put_bucket_encryption(
            Bucket=bench.plain,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        key_id = "arn:aws:kms:us-east-1:000000000000:key/1"
        for store, algorithm in ((S3Multipart(s3, kms_key_id=key_id), "aws:kms"), (S3Multipart(s3), "AES256")):
            upload = await store.begin(bench.plain, algorithm, metadata={"commit": "c"}, content_type=TYPE)
            await store.complete(upload, [await store.put_part(upload, 1, b"x")], if_match=IF_ABSENT)
            head = await s3.head_object(Bucket=bench.plain, Key=algorithm)
            assert head["ServerSideEncryption"] == algorithm
            assert head.get("SSEKMSKeyId") == (key_id if algorithm == "aws:kms" else None)


@pytest.mark.localstack
class TestLocalStackMultipart(OnLocalStack, PartsConformance):
    """S3 as LocalStack imitates it keeps the contract, and enforces the least size of a part."""

    async def test_a_small_part_before_the_last_is_refused(self, bench: Bench, s3: "S3Client") -> None:
        """What the adapter does not send, S3 would not take: the same parts are EntityTooSmall."""
        upload = await bench.begin(bench.plain)
        parts = [await bench.store.put_part(upload, number, b"x" * (PART_MIN - 1)) for number in (1, 2)]
        with pytest.raises(ClientError) as refusal:
            await s3.complete_multipart_upload(
                Bucket=upload.bucket,
                Key=upload.key,
                UploadId=upload.upload_id,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
            )
        assert code_of(refusal.value) == "EntityTooSmall"

    async def test_the_init_hook_has_uploads_aborted(self, localstack: Mapping[str, str], s3: "S3Client") -> None:
        """Buckets that are merged into free what a killed merger left."""
        for bucket in TOPOLOGY.buckets:
            if bucket.abort_incomplete_days is not None:
                name = f"{localstack['TIDEGATE_STACK']}-{bucket.name}"
                rules = (await s3.get_bucket_lifecycle_configuration(Bucket=name))["Rules"]
                days = [r["AbortIncompleteMultipartUpload"] for r in rules if "AbortIncompleteMultipartUpload" in r]
                assert days == [{"DaysAfterInitiation": bucket.abort_incomplete_days}]
