"""What every BulkReader does, held against the fake and against S3."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from contracts.segments import Occurrence
from services.runtime.aws.bulk_reads import BulkS3Reader
from services.runtime.aws.clients import Clients
from services.runtime.aws.objects import S3Objects
from services.runtime.failures import MissingObjectError
from services.runtime.objects import BulkReader, ObjectStore
from tests.emulator_support import Stack
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.objects import FakeObjects

KEYS = [
    "events/log-submit-20240115-100000-7-a-b-ABC123-01.json",
    "a b+c&d=e?f#g%h%20i%2Fj",
    "ünï/日本/🙂",
    "q\"<>[]{}|^`\\:@,;$!*'()~",
    "two//slashes",
    "ends/in/slash/",
    "/starts/with/slash",
    "a/./dot",
    "tab\there",
]


@dataclass(frozen=True)
class Bench:
    """A reader with the store it reads from: one bucket that keeps versions, one that does not."""

    reader: BulkReader
    objects: ObjectStore
    versioned: str
    plain: str

    async def write(self, bucket: str, key: str, body: bytes) -> Occurrence:
        """Put an object; the occurrence that this put was."""
        written = await self.objects.put(bucket, key, body)
        return Occurrence(bucket=bucket, key=key, version_id=written.version_id, etag=written.etag)


class BulkReaderConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_bytes_come_in_the_order_asked_for(self, bench: Bench) -> None:
        """More objects than are in flight at once come back complete and in order."""
        occurrences = [await bench.write(bench.versioned, f"n/{n}", b"%d" % n) for n in range(40)]
        backwards = occurrences[::-1]
        assert await bench.reader.read_many(backwards, in_flight=7) == [b"%d" % n for n in reversed(range(40))]

    async def test_nothing_asked_for_is_nothing_read(self, bench: Bench) -> None:
        """An empty request is answered with an empty list."""
        assert await bench.reader.read_many([], in_flight=8) == []

    async def test_nothing_in_flight_is_a_mistake(self, bench: Bench) -> None:
        """A bound that would let nothing through is refused, not waited on."""
        occurrence = await bench.write(bench.plain, "k", b"x")
        with pytest.raises(ValueError, match="in_flight"):
            await bench.reader.read_many([occurrence], in_flight=0)

    async def test_the_same_occurrence_twice_is_read_twice(self, bench: Bench) -> None:
        """Duplicates in a request keep their places; an empty object is empty bytes, not a failure."""
        empty, full = await bench.write(bench.plain, "empty", b""), await bench.write(bench.plain, "full", b"x")
        assert await bench.reader.read_many([empty, full, empty], in_flight=2) == [b"", b"x", b""]

    async def test_a_version_outlives_its_successors(self, bench: Bench) -> None:
        """In a bucket that keeps versions each occurrence yields what it was, whatever was written since."""
        old = await bench.write(bench.versioned, "evolving", b"old")
        new = await bench.write(bench.versioned, "evolving", b"new")
        await bench.objects.delete(bench.versioned, "evolving")
        assert await bench.reader.read_many([new, old], in_flight=2) == [b"new", b"old"]

    async def test_a_replaced_object_is_missing(self, bench: Bench) -> None:
        """Without versions, the ETag pins the content: what replaced it is never read in its place."""
        old = await bench.write(bench.plain, "evolving", b"old")
        new = await bench.write(bench.plain, "evolving", b"new")
        gone, kept = await bench.reader.read_many([old, new], in_flight=2)
        assert kept == b"new"
        assert isinstance(gone, MissingObjectError)
        assert "evolving" in str(gone)

    async def test_what_is_missing_does_not_stop_the_rest(self, bench: Bench) -> None:
        """A deleted object and a version that never was are errors in their places; the others are read."""
        here = await bench.write(bench.versioned, "here", b"here")
        deleted = await bench.write(bench.plain, "deleted", b"deleted")
        await bench.objects.delete(bench.plain, "deleted")
        elsewhere = here.model_copy(update={"key": "never-written"})
        results = await bench.reader.read_many([deleted, here, elsewhere, here], in_flight=3)
        assert [type(result) for result in results] == [MissingObjectError, bytes, MissingObjectError, bytes]
        assert "deleted" in str(results[0])
        assert "never-written" in str(results[2])

    async def test_a_missing_bucket_is_named(self, bench: Bench) -> None:
        """An object of a bucket that does not exist is missing, and the text says which bucket."""
        nowhere = Occurrence(bucket="no-such-bucket-anywhere", key="k", etag="0" * 32)
        (result,) = await bench.reader.read_many([nowhere], in_flight=1)
        assert isinstance(result, MissingObjectError)
        assert "no-such-bucket-anywhere" in str(result)

    @pytest.mark.parametrize("key", KEYS)
    async def test_keys_hold_any_characters(self, bench: Bench, key: str) -> None:
        """A key is read exactly as it was written, by version and by ETag."""
        occurrences = [await bench.write(bucket, key, key.encode()) for bucket in (bench.versioned, bench.plain)]
        assert await bench.reader.read_many(occurrences, in_flight=2) == [key.encode()] * 2


class TestFakeBulkReader(BulkReaderConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """A fake store with both kinds of bucket."""
        objects = FakeObjects({"versioned": True, "plain": False})
        return Bench(FakeBulkReader(objects), objects, "versioned", "plain")


class TestBulkS3Reader(BulkReaderConformance):
    """S3 through the emulator keeps the contract."""

    @pytest.fixture
    async def bench(self, stack: Stack, clients: Clients) -> AsyncIterator[Bench]:
        """The stack's own buckets."""
        async with BulkS3Reader(clients.s3) as reader:
            yield Bench(reader, S3Objects(clients.s3), stack.resource("raw"), stack.resource("quarantine"))
