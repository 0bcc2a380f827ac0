"""The compare-and-swap of every MultipartStore, held against the fake, the emulator and LocalStack."""

import asyncio
from typing import cast

import pytest

from services.runtime.failures import ConflictError, UnreachableError
from services.runtime.multipart import Upload
from services.runtime.objects import IF_ABSENT, ObjectInfo
from tests.conformance.multipart_bench import KEPT, NEW, OLD, Bench, OvertakenNetwork
from tests.conformance.multipart_worlds import InMemory, OnEmulator, OnLocalStack
from tests.fakes.clock import ManualClock
from tests.fakes.multipart import FakeMultipart
from tests.fakes.network import Fate


class SwapsConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_one_of_two_completions_wins(self, bench: Bench) -> None:
        """Two uploads that are to replace one ETag: one does, the other is a conflict and can be aborted."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            filled = [await bench.filled(bucket, old, commit) for commit in ("a", "b")]
            outcomes = await asyncio.gather(
                *(bench.store.complete(upload, parts, if_match=old.etag) for upload, parts in filled),
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes} == {ConflictError, ObjectInfo}
            for outcome, (upload, _) in zip(outcomes, filled, strict=True):
                if isinstance(outcome, ObjectInfo):
                    assert await bench.commit_of(bucket) == upload.metadata["commit"]
                else:
                    await bench.store.abort(upload)
            assert await bench.pending(bucket) == []
        assert len([info async for info in bench.objects.list_versions(bench.versioned, bench.key)]) == 2

    async def test_the_second_of_two_completions_loses(self, bench: Bench) -> None:
        """Of two uploads that are to replace one ETag the later is a conflict, and the earlier's object stays."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            first, second = [await bench.filled(bucket, old, commit) for commit in ("a", "b")]
            await bench.store.complete(*first, if_match=old.etag)
            with pytest.raises(ConflictError, match=bench.key):
                await bench.store.complete(*second, if_match=old.etag)
            await bench.store.abort(second[0])
            assert await bench.commit_of(bucket) == "a"
            assert await bench.pending(bucket) == []

    async def test_a_change_before_the_copy_is_a_conflict(self, bench: Bench) -> None:
        """What is replaced between beginning and copying is a conflict at the copy or, of a version, at the end."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            upload = await bench.begin(bucket)
            await bench.objects.put(bucket, bench.key, OLD + b"!", metadata={"commit": "other"})
            with pytest.raises(ConflictError, match=bench.key):
                await self._copy_and_complete(bench, upload, old)
            await bench.store.abort(upload)
            assert await bench.commit_of(bucket) == "other"

    async def _copy_and_complete(self, bench: Bench, upload: Upload, old: ObjectInfo) -> None:
        part = await bench.store.copy_part(upload, 1, old, 0, KEPT)
        await bench.store.complete(upload, [part], if_match=old.etag)

    async def test_a_copy_of_what_was_replaced_is_a_conflict(self, bench: Bench) -> None:
        """Where no version is kept, a copy finds another ETag, or nothing, and says so."""
        old = await bench.old(bench.plain)
        upload = await bench.begin(bench.plain)
        await bench.objects.put(bench.plain, bench.key, OLD + b"!")
        with pytest.raises(ConflictError, match=bench.key):
            await bench.store.copy_part(upload, 1, old, 0, KEPT)
        await bench.objects.delete(bench.plain, bench.key)
        with pytest.raises(ConflictError, match=bench.key):
            await bench.store.copy_part(upload, 1, old, 0, KEPT)

    async def test_a_copy_is_of_the_version_it_names(self, bench: Bench) -> None:
        """A version is copied from though it was replaced; the object of now is not."""
        old = await bench.old(bench.versioned)
        now = await bench.objects.put(bench.versioned, bench.key, b"#" * len(OLD))
        upload = await bench.begin(bench.versioned)
        part = await bench.store.copy_part(upload, 1, old, 8, KEPT + 8)
        await bench.store.complete(upload, [part], if_match=now.etag)
        assert (await bench.objects.get(bench.versioned, bench.key)).body == OLD[8 : KEPT + 8]

    async def test_a_change_before_the_completion_is_a_conflict(self, bench: Bench) -> None:
        """What was replaced or deleted after the copy stays as it is; so does what stands where nothing should."""
        for bucket in (bench.plain, bench.versioned):
            old = await bench.old(bucket)
            upload, parts = await bench.filled(bucket, old)
            for condition in (old.etag, IF_ABSENT):
                await bench.objects.put(bucket, bench.key, b"other", metadata={"commit": "other"})
                with pytest.raises(ConflictError, match=bench.key):
                    await bench.store.complete(upload, parts, if_match=condition)
                assert await bench.commit_of(bucket) == "other"
            await bench.objects.delete(bucket, bench.key)
            with pytest.raises(ConflictError, match=bench.key):
                await bench.store.complete(upload, parts, if_match=old.etag)
            assert await bench.commit_of(bucket) is None

    async def test_if_absent_creates(self, bench: Bench) -> None:
        """An upload can be the first object of its key."""
        upload = await bench.begin(bench.plain)
        part = await bench.store.put_part(upload, 1, b"first")
        made = await bench.store.complete(upload, [part], if_match=IF_ABSENT)
        assert (await bench.objects.get(bench.plain, bench.key)).info.etag == made.etag

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.REPEATED])
    async def test_a_completion_whose_answer_was_lost_is_ours(self, bench: Bench, fate: Fate) -> None:
        """Whether the caller or the SDK missed the answer, the object tells that the completion happened."""
        old = await bench.old(bench.versioned)
        upload, parts = await bench.filled(bench.versioned, old)
        bench.network.next(fate)
        made = await bench.faulty.complete(upload, parts, if_match=old.etag)
        found = await bench.objects.get(bench.versioned, bench.key)
        assert (found.info.etag, found.info.version_id) == (made.etag, made.version_id)
        assert found.body == OLD[:KEPT] + NEW + b"new"
        assert len([info async for info in bench.objects.list_versions(bench.versioned, bench.key)]) == 2

    async def test_a_completion_that_was_lost_is_a_conflict(self, bench: Bench) -> None:
        """Nothing happened, so the object is not ours, not even if what stands there carries the same commit."""
        old = await bench.old(bench.versioned)
        for commit in ("new", "old"):
            upload, parts = await bench.filled(bench.versioned, old, commit)
            bench.network.next(Fate.REQUEST_LOST)
            with pytest.raises(ConflictError, match=bench.key):
                await bench.faulty.complete(upload, parts, if_match=old.etag)
            await bench.store.abort(upload)
            assert await bench.commit_of(bench.versioned) == "old"

    async def test_what_was_overtaken_is_not_claimed(self, bench: Bench) -> None:
        """A completion that happened unheard and was replaced at once is a conflict: what is there is another's."""
        old = await bench.old(bench.versioned)
        upload, parts = await bench.filled(bench.versioned, old)

        async def overtake() -> None:
            assert await bench.commit_of(bench.versioned) == "new"
            await bench.objects.put(bench.versioned, bench.key, b"other", metadata={"commit": "other"})

        with pytest.raises(ConflictError, match=bench.key):
            await bench.over(OvertakenNetwork(overtake)).complete(upload, parts, if_match=old.etag)
        await bench.store.abort(upload)
        assert await bench.commit_of(bench.versioned) == "other"


class TestFakeSwaps(InMemory, SwapsConformance):
    """The fake keeps the contract."""

    async def test_an_object_younger_than_the_upload_is_a_conflict(self, bench: Bench) -> None:
        """As on S3, what was read must be older than the upload that replaces it, though the ETag be the same."""
        store = cast("FakeMultipart", bench.store)
        old = await bench.old(bench.plain)
        upload, parts = await bench.filled(bench.plain, old)
        cast("ManualClock", store.objects._clock).advance(1)
        again = await bench.old(bench.plain)
        assert again.etag == old.etag
        with pytest.raises(ConflictError, match="younger"):
            await bench.store.complete(upload, parts, if_match=old.etag)


class SwapsOnS3(SwapsConformance):
    """What only a network to S3 can show."""

    async def test_silence_is_unreachable(self, bench: Bench) -> None:
        """Where neither the completion nor the reading of the object was answered, nothing is claimed."""
        old = await bench.old(bench.plain)
        upload, parts = await bench.filled(bench.plain, old)
        bench.network.next(Fate.ANSWER_LOST, Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError, match=bench.key):
            await bench.faulty.complete(upload, parts, if_match=old.etag)


class TestS3Swaps(OnEmulator, SwapsOnS3):
    """S3 through the emulator keeps the contract."""


@pytest.mark.localstack
class TestLocalStackSwaps(OnLocalStack, SwapsOnS3):
    """S3 as LocalStack imitates it keeps the contract."""

    async def test_one_of_two_completions_wins(self, bench: Bench) -> None:
        """LocalStack looks and writes in two steps, so at the same moment both may win: here one follows the other."""
        await self.test_the_second_of_two_completions_loses(bench)

    async def test_a_copy_of_what_was_replaced_is_a_conflict(self, bench: Bench) -> None:
        """LocalStack looks at no condition of a copy: the completion finds out."""
        old = await bench.old(bench.plain)
        upload = await bench.begin(bench.plain)
        await bench.objects.put(bench.plain, bench.key, OLD + b"!")
        await bench.store.copy_part(upload, 1, old, 0, KEPT)
