"""What every ObjectStore does, held against the fake and against S3."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import pytest
from botocore.exceptions import ClientError

from services.runtime.aws.clients import Clients
from services.runtime.aws.objects import S3Objects
from services.runtime.failures import AccessDeniedError, ConflictError, MissingObjectError, UnreachableError
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore, Span
from tests.emulator_support import Stack
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.objects import FakeObjects

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

NOWHERE = "no-such-bucket-anywhere"
ODD_KEYS = ["a b+c&d=e?f#g%h%20i", "ünï/日本/🙂", "two//slashes", "q\"<>[]{}|^`\\:@,;$!*'()~"]


@dataclass(frozen=True)
class Bench:
    """A store; the same store over a bad network, and as one who may not use it; a bucket of either kind."""

    objects: ObjectStore
    faulty: ObjectStore
    network: ScriptedNetwork
    denied: ObjectStore
    versioned: str
    plain: str

    async def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys a listing shows."""
        return [info.key async for info in self.objects.list(bucket, prefix)]

    async def versions(self, bucket: str, prefix: str = "") -> list[ObjectInfo]:
        """The versions a listing shows."""
        return [info async for info in self.objects.list_versions(bucket, prefix)]


async def outcomes(store: ObjectStore, bucket: str, key: str, if_match: str) -> list[bytes]:
    """Race twenty conditional puts; the bodies of those that won."""
    bodies = [b"%d" % number for number in range(20)]
    results = await asyncio.gather(
        *(store.put(bucket, key, body, if_match=if_match) for body in bodies), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, ObjectInfo | ConflictError), result
    return [body for body, result in zip(bodies, results, strict=True) if isinstance(result, ObjectInfo)]


class ObjectStoreConformance:
    """Subclasses provide the ``bench`` fixture."""

    @pytest.mark.parametrize(
        ("span", "bytes_"),
        [
            (Span(0, 3), b"012"),
            (Span(7, 3), b"789"),
            (Span(8, 100), b"89"),
            (Span(None, 4), b"6789"),
            (Span(None, 99), b"0123456789"),
        ],
    )
    async def test_reads_some_of_the_bytes(self, bench: Bench, span: Span, bytes_: bytes) -> None:
        """A span gives what there is of it, with the size of the whole object."""
        written = await bench.objects.put(bench.versioned, "digits", b"0123456789")
        await bench.objects.put(bench.versioned, "digits", b"replaced")
        stored = await bench.objects.get(bench.versioned, "digits", version_id=written.version_id, span=span)
        assert (stored.body, stored.info.size) == (bytes_, 10)

    async def test_writes_a_file_whole(self, bench: Bench, tmp_path: Path) -> None:
        """A file is written from its start, wherever it was read or written last, under the same conditions."""
        path = tmp_path / "spool"
        with path.open("w+b") as file:
            file.write(b"x" * 100_000)
            info = await bench.objects.put(bench.plain, "file", file, if_match=IF_ABSENT)
            with pytest.raises(ConflictError):
                await bench.objects.put(bench.plain, "file", file, if_match=IF_ABSENT)
        assert info.size == 100_000
        assert (await bench.objects.get(bench.plain, "file")).body == b"x" * 100_000

    async def test_what_is_put_is_read_back(self, bench: Bench) -> None:
        """Bytes, ETag, size, version and metadata of a put are those of the get and the head after it."""
        for bucket in (bench.versioned, bench.plain):
            written = await bench.objects.put(bucket, "a/b", b"\x00body", metadata={"commit": "c1"})
            read = await bench.objects.get(bucket, "a/b")
            head = await bench.objects.head(bucket, "a/b")
            assert read.body == b"\x00body"
            assert head is not None
            for info in (read.info, head):
                assert (info.key, info.etag, info.size, info.version_id, dict(info.metadata)) == (
                    "a/b",
                    written.etag,
                    5,
                    written.version_id,
                    {"commit": "c1"},
                )
                assert info.last_modified is not None
            assert '"' not in written.etag

    async def test_only_a_bucket_that_keeps_versions_names_them(self, bench: Bench) -> None:
        """The version id is None in a bucket without versions, wherever it is reported."""
        assert (await bench.objects.put(bench.plain, "k", b"1")).version_id is None
        assert (await bench.objects.put(bench.versioned, "k", b"1")).version_id
        assert [info.version_id async for info in bench.objects.list_versions(bench.plain)] == [None]

    async def test_a_version_outlives_replacement_and_deletion(self, bench: Bench) -> None:
        """A pinned read yields that version though the key was replaced and then deleted."""
        old = await bench.objects.put(bench.versioned, "k", b"old")
        new = await bench.objects.put(bench.versioned, "k", b"new")
        await bench.objects.delete(bench.versioned, "k")
        assert (await bench.objects.get(bench.versioned, "k", version_id=old.version_id)).body == b"old"
        assert (await bench.objects.get(bench.versioned, "k", version_id=new.version_id)).body == b"new"
        assert await bench.objects.head(bench.versioned, "k") is None
        with pytest.raises(MissingObjectError, match="k"):
            await bench.objects.get(bench.versioned, "k")

    async def test_deleting_twice_is_deleting_once(self, bench: Bench) -> None:
        """Removing what is not there is no error, in either kind of bucket."""
        for bucket in (bench.versioned, bench.plain):
            await bench.objects.put(bucket, "k", b"1")
            await bench.objects.delete(bucket, "k")
            await bench.objects.delete(bucket, "k")
            assert await bench.objects.head(bucket, "k") is None

    async def test_if_absent_creates_and_never_replaces(self, bench: Bench) -> None:
        """A second put with IF_ABSENT is a conflict and leaves the first one's bytes; after a delete it creates."""
        await bench.objects.put(bench.versioned, "k", b"first", if_match=IF_ABSENT)
        with pytest.raises(ConflictError):
            await bench.objects.put(bench.versioned, "k", b"second", if_match=IF_ABSENT)
        assert (await bench.objects.get(bench.versioned, "k")).body == b"first"
        await bench.objects.delete(bench.versioned, "k")
        await bench.objects.put(bench.versioned, "k", b"third", if_match=IF_ABSENT)
        assert (await bench.objects.get(bench.versioned, "k")).body == b"third"

    async def test_if_match_replaces_exactly_what_was_read(self, bench: Bench) -> None:
        """If-Match on the current ETag replaces; on an earlier one, or on a key that is gone, it is a conflict."""
        first = await bench.objects.put(bench.versioned, "k", b"first")
        await bench.objects.put(bench.versioned, "k", b"second", if_match=first.etag)
        with pytest.raises(ConflictError):
            await bench.objects.put(bench.versioned, "k", b"third", if_match=first.etag)
        with pytest.raises(ConflictError):
            await bench.objects.put(bench.versioned, "never", b"x", if_match=first.etag)
        assert (await bench.objects.get(bench.versioned, "k")).body == b"second"
        assert await bench.objects.head(bench.versioned, "never") is None

    async def test_one_of_twenty_creators_wins(self, bench: Bench) -> None:
        """Of twenty concurrent puts with IF_ABSENT one wins, and its bytes are what is there."""
        (winner,) = await outcomes(bench.objects, bench.versioned, "race", IF_ABSENT)
        assert (await bench.objects.get(bench.versioned, "race")).body == winner

    async def test_one_of_twenty_replacers_wins(self, bench: Bench) -> None:
        """Of twenty concurrent puts on the same ETag one wins, and no version of another was stored."""
        base = await bench.objects.put(bench.versioned, "race", b"base")
        (winner,) = await outcomes(bench.objects, bench.versioned, "race", base.etag)
        assert (await bench.objects.get(bench.versioned, "race")).body == winner
        assert len(await bench.versions(bench.versioned, "race")) == 2

    async def test_a_listing_is_in_key_order_under_its_prefix(self, bench: Bench) -> None:
        """Keys come in the order of their bytes, and only those that start with the prefix."""
        for key in ("b/2", "a", "b/10", "b", "b/é", "c"):
            await bench.objects.put(bench.plain, key, b"x")
        assert await bench.keys(bench.plain, "b/") == ["b/10", "b/2", "b/é"]
        assert await bench.keys(bench.plain) == ["a", "b", "b/10", "b/2", "b/é", "c"]
        assert await bench.keys(bench.plain, "nothing/") == []

    async def test_a_listing_tells_size_and_etag(self, bench: Bench) -> None:
        """What a listing says of an object is what its put said."""
        written = await bench.objects.put(bench.plain, "k", b"12345")
        (listed,) = [info async for info in bench.objects.list(bench.plain)]
        assert (listed.key, listed.etag, listed.size) == ("k", written.etag, 5)
        assert listed.last_modified is not None

    async def test_versions_are_listed_without_delete_markers(self, bench: Bench) -> None:
        """Every version of every key is listed, also of a deleted key; the deletion itself is not."""
        written = [await bench.objects.put(bench.versioned, key, b"%d" % n) for n in range(3) for key in ("a", "b")]
        await bench.objects.delete(bench.versioned, "a")
        listed = await bench.versions(bench.versioned)
        assert {(info.key, info.version_id, info.etag) for info in listed} == {
            (info.key, info.version_id, info.etag) for info in written
        }
        assert len(listed) == 6
        assert await bench.keys(bench.versioned) == ["b"]

    async def test_without_versions_both_listings_agree(self, bench: Bench) -> None:
        """In a bucket that keeps no versions, list_versions is list."""
        for key in ("a", "b", "a"):
            await bench.objects.put(bench.plain, key, b"x")
        assert await bench.versions(bench.plain) == [info async for info in bench.objects.list(bench.plain)]

    async def test_listings_go_on_past_one_page(self, bench: Bench) -> None:
        """More objects, and more versions, than one answer of S3 holds (1,000) are all listed, once."""
        numbers = iter(range(1_100))

        async def write() -> None:
            for number in numbers:
                await bench.objects.put(bench.versioned, f"many/{number:04}", b"")

        await asyncio.gather(*(write() for _ in range(16)))
        expected = [f"many/{number:04}" for number in range(1_100)]
        assert await bench.keys(bench.versioned, "many/") == expected
        assert [info.key for info in await bench.versions(bench.versioned, "many/")] == expected

    @pytest.mark.parametrize("key", ODD_KEYS)
    async def test_keys_hold_any_characters(self, bench: Bench, key: str) -> None:
        """A key is written, read and listed exactly as it is."""
        await bench.objects.put(bench.plain, key, key.encode())
        assert (await bench.objects.get(bench.plain, key)).body == key.encode()
        assert await bench.keys(bench.plain) == [key]

    async def test_what_is_missing_is_named(self, bench: Bench) -> None:
        """A read of a missing object names bucket and key."""
        with pytest.raises(MissingObjectError, match=rf"{bench.plain}/no/such"):
            await bench.objects.get(bench.plain, "no/such")

    @pytest.mark.parametrize(
        "call",
        [
            lambda objects: objects.get(NOWHERE, "k"),
            lambda objects: objects.head(NOWHERE, "k"),
            lambda objects: objects.put(NOWHERE, "k", b""),
            lambda objects: objects.put(NOWHERE, "k", b"", if_match=IF_ABSENT),
            lambda objects: objects.delete(NOWHERE, "k"),
            lambda objects: anext(objects.list(NOWHERE)),
            lambda objects: anext(objects.list_versions(NOWHERE)),
        ],
        ids=["get", "head", "put", "put-if-absent", "delete", "list", "list-versions"],
    )
    async def test_a_missing_bucket_is_named(
        self, bench: Bench, call: Callable[[ObjectStore], Awaitable[object]]
    ) -> None:
        """Whatever is asked of a bucket that does not exist says so; it is never "no such object" nor a conflict."""
        with pytest.raises(MissingObjectError, match=NOWHERE):
            await call(bench.objects)

    @pytest.mark.parametrize(
        "call",
        [
            lambda objects, bucket: objects.get(bucket, "k"),
            lambda objects, bucket: objects.head(bucket, "k"),
            lambda objects, bucket: objects.put(bucket, "k", b"", if_match=IF_ABSENT),
            lambda objects, bucket: objects.delete(bucket, "k"),
        ],
        ids=["get", "head", "put", "delete"],
    )
    async def test_a_refusal_is_access_denied(
        self, bench: Bench, call: Callable[[ObjectStore, str], Awaitable[object]]
    ) -> None:
        """A refused call is an AccessDeniedError that names the bucket."""
        with pytest.raises(AccessDeniedError, match=bench.plain):
            await call(bench.denied, bench.plain)

    async def test_a_request_that_was_lost_did_nothing(self, bench: Bench) -> None:
        """A put that never arrived is reported as unreachable, and can be repeated."""
        bench.network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await bench.faulty.put(bench.plain, "k", b"1", if_match=IF_ABSENT)
        assert await bench.objects.head(bench.plain, "k") is None
        await bench.faulty.put(bench.plain, "k", b"1", if_match=IF_ABSENT)

    async def test_a_put_whose_answer_was_lost_is_found_by_its_stamp(self, bench: Bench) -> None:
        """The write happened; the repetition is a conflict, and what is there carries the caller's stamp."""
        bench.network.next(Fate.ANSWER_LOST)
        with pytest.raises(UnreachableError):
            await bench.faulty.put(bench.plain, "k", b"1", if_match=IF_ABSENT, metadata={"commit": "mine"})
        with pytest.raises(ConflictError):
            await bench.faulty.put(bench.plain, "k", b"1", if_match=IF_ABSENT, metadata={"commit": "mine"})
        head = await bench.objects.head(bench.plain, "k")
        assert head is not None
        assert head.metadata == {"commit": "mine"}

    async def test_a_put_that_was_sent_twice_looks_like_a_conflict(self, bench: Bench) -> None:
        """The SDK repeats a put whose first try won: reported as a conflict though the write is ours."""
        base = await bench.objects.put(bench.plain, "k", b"base")
        bench.network.next(Fate.REPEATED)
        with pytest.raises(ConflictError):
            await bench.faulty.put(bench.plain, "k", b"new", if_match=base.etag, metadata={"commit": "mine"})
        found = await bench.objects.get(bench.plain, "k")
        assert (found.body, found.info.metadata) == (b"new", {"commit": "mine"})


class TestFakeObjects(ObjectStoreConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """A fake store with both kinds of bucket."""
        network = ScriptedNetwork()
        objects = FakeObjects()
        denied = FakeObjects()
        denied.buckets["plain"].denied = True
        return Bench(objects, objects.seen_by(Effects(network=network)), network, denied, "versioned", "plain")


class RefusingClient:
    """A client that AWS refuses everything."""

    def __getattr__(self, operation: str) -> Callable[..., object]:
        async def refuse(**arguments: object) -> NoReturn:
            detail = {"Error": {"Code": "AccessDenied", "Message": f"no {operation} with {sorted(arguments)}"}}
            raise ClientError(cast("dict[str, object]", detail), operation)  # type: ignore[arg-type]

        return refuse


class TestS3Objects(ObjectStoreConformance):
    """S3 through the emulator keeps the contract."""

    @pytest.fixture
    def bench(self, stack: Stack, clients: Clients) -> Bench:
        """The stack's own buckets."""
        network = ScriptedNetwork()
        return Bench(
            S3Objects(clients.s3),
            S3Objects(cast("S3Client", NetworkedClient(clients.s3, network))),
            network,
            S3Objects(cast("S3Client", RefusingClient())),
            stack.resource("raw"),
            stack.resource("quarantine"),
        )

    @pytest.mark.usefixtures("empty_stack")
    async def test_an_answer_cut_short_is_no_object(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fewer bytes than announced are an UnreachableError that names the object, never a shorter object."""

        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "e"\r\n\r\nonly this')
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(cut, "127.0.0.1", 0)
        async with server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            async with Clients() as cutting:
                with pytest.raises(UnreachableError, match="s3://bucket/key"):
                    await S3Objects(cutting.s3).get("bucket", "key")
