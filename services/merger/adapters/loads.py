"""Manifests of loads and the results of their groups, in the state bucket; what the validator says, where it says it.

loads/{pipeline}/{version}/manifest.json · groups/{n}.json
"""

import asyncio
from collections import OrderedDict
from typing import TypeVar

from pydantic import ValidationError

from contracts.envelope import Contract
from contracts.loads import GroupResult, LandedSegment, LoadManifest, SourceSegment
from services.merger.ports import StoredManifest
from services.runtime.failures import MalformedError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore, StoredObject

JSON = "application/json"
READS_IN_FLIGHT = 16
KEPT = 4
"""Manifests whose segments are kept in memory: the groups of one load are often written by one process."""

M = TypeVar("M", bound=Contract)


class S3Loads:
    """``Loads`` over an object store."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._manifests: OrderedDict[tuple[str, int], StoredManifest] = OrderedDict()
        self._segments: OrderedDict[str, list[LandedSegment]] = OrderedDict()

    async def landed(self, bucket: str, key: str) -> LandedSegment:
        """See the port."""
        return _parsed(LandedSegment, await self._objects.get(bucket, key), f"s3://{bucket}/{key}")

    async def segments(self, stored: StoredManifest) -> list[LandedSegment]:
        """See the port."""
        if stored.key not in self._segments:
            limit = asyncio.Semaphore(READS_IN_FLIGHT)

            async def read(source: SourceSegment) -> LandedSegment:
                async with limit:
                    return await self.landed(source.bucket, source.key)

            found = await asyncio.gather(*map(read, stored.manifest.segments))
            _keep(self._segments, stored.key, found)
        return self._segments[stored.key]

    async def manifest(self, pipeline: str, version: int) -> StoredManifest | None:
        """See the port."""
        known = self._manifests.get((pipeline, version))
        if known is not None:
            return known
        key = _folder(pipeline, version) + "manifest.json"
        try:
            found = await self._objects.get(self._bucket, key)
        except MissingObjectError:
            if await self._objects.head(self._bucket, key) is None:  # raises where it is the bucket that is missing
                return None
            raise
        stored = StoredManifest(_parsed(LoadManifest, found, f"s3://{self._bucket}/{key}"), key, found.info.etag)
        _keep(self._manifests, (pipeline, version), stored)
        return stored

    async def create(self, manifest: LoadManifest) -> None:
        """See the port."""
        key = _folder(manifest.pipeline, manifest.version) + "manifest.json"
        await self._put(key, manifest, if_match=IF_ABSENT)

    async def finished(self, manifest: LoadManifest) -> set[int]:
        """See the port."""
        prefix = _folder(manifest.pipeline, manifest.version) + "groups/"
        return {_number(info) async for info in self._objects.list(self._bucket, prefix)}

    async def result(self, manifest: LoadManifest, group: int) -> GroupResult:
        """See the port."""
        key = _group(manifest, group)
        return _parsed(GroupResult, await self._objects.get(self._bucket, key), f"s3://{self._bucket}/{key}")

    async def finish(self, manifest: LoadManifest, group: int, result: GroupResult) -> None:
        """See the port."""
        await self._put(_group(manifest, group), result)

    async def _put(self, key: str, content: Contract, *, if_match: str | None = None) -> None:
        body = content.model_dump_json().encode()
        await self._objects.put(self._bucket, key, body, if_match=if_match, content_type=JSON)


def _folder(pipeline: str, version: int) -> str:
    return f"loads/{pipeline}/{version:012d}/"


def _group(manifest: LoadManifest, group: int) -> str:
    return f"{_folder(manifest.pipeline, manifest.version)}groups/{group}.json"


def _number(info: ObjectInfo) -> int:
    return int(info.key.rpartition("/")[2].removesuffix(".json"))


def _parsed(model: type[M], stored: StoredObject, uri: str) -> M:
    try:
        return model.model_validate_json(stored.body, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole document"
        raise MalformedError(f"{uri} is not a {model.__name__}: {place}: {first['msg']}") from error


K = TypeVar("K")
V = TypeVar("V")


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
