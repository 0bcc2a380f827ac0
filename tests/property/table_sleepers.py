"""Mergers of a table that sleep right before or after a file changes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from services.merger.ports import Ports
from services.runtime.checkpoints import Commit
from services.runtime.multipart import Part, Upload
from services.runtime.objects import ObjectInfo
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.effects import Effects
from tests.fakes.multipart import FakeMultipart
from tests.fakes.objects import FakeObjects
from tests.property.table_world import PART_MIN, TableWorld


class SleepyObjects(FakeObjects):
    """A store whose puts into the table wait until they are let go."""

    def __init__(self, objects: FakeObjects, effects: Effects) -> None:
        super().__init__({}, effects=effects)
        self.buckets, self.puts = objects.buckets, objects.puts
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """See ``ObjectStore``."""
        if bucket == "processed":
            await self.sleep()
        return await super().put(bucket, key, body, if_match=if_match, metadata=metadata, content_type=content_type)

    async def sleep(self) -> None:
        """Until it is let go."""
        self.asleep.set()
        await self.awake.wait()


class SleepyMultipart(FakeMultipart):
    """Its completions wait as well."""

    def __init__(self, multipart: FakeMultipart, objects: SleepyObjects) -> None:
        super().__init__(objects, smallest=PART_MIN)
        self._sleepy = objects
        self.pending, self.content_types, self._numbers = multipart.pending, multipart.content_types, multipart._numbers

    async def complete(self, upload: Upload, parts: Sequence[Part], *, if_match: str) -> ObjectInfo:
        """See ``MultipartStore``."""
        await self._sleepy.sleep()
        return await super().complete(upload, parts, if_match=if_match)


class SleepyCheckpoints(FakeCheckpoints):
    """A table of which a merger records its commits late."""

    def __init__(self, checkpoints: FakeCheckpoints) -> None:
        super().__init__(table=checkpoints.table)
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()

    async def record(self, checkpoint: str, commit: Commit, undone: tuple[int, int] | None = None) -> None:
        """See ``Checkpoints``."""
        self.asleep.set()
        await self.awake.wait()
        await super().record(checkpoint, commit, undone)


def asleep_after(world: TableWorld) -> tuple[Ports, SleepyCheckpoints]:
    """A merger that will sleep after it changed a file, before that is recorded."""
    checkpoints = SleepyCheckpoints(world.checkpoints)
    return replace(world.ports(Effects()), owner="late", checkpoints=checkpoints), checkpoints


def asleep(world: TableWorld) -> tuple[Ports, SleepyObjects]:
    """A merger that will sleep right before it changes a file of the table."""
    effects = Effects()
    objects = SleepyObjects(world.objects, effects)
    ports = world.ports(effects, objects, SleepyMultipart(world.multipart, objects))
    return replace(ports, owner="sleeper"), objects
