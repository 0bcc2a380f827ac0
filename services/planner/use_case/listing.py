"""Listing a source and finding what is not settled."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from contracts.pipelines import Pipeline
from contracts.runs import ScanPayload
from contracts.segments import Disposition, Occurrence
from contracts.sources import ObjectSource
from services.planner.core.scan import needs_check, unsettled
from services.planner.ports import Ports
from services.runtime.checkpoints import STAMP_VERSION, Head
from services.runtime.objects import ObjectInfo
from services.runtime.occurrences import Mark

LOOKUP_PAGE = 1_000
"""Occurrences looked up in the index together, as many as S3 lists in one request."""


@dataclass(slots=True)
class Found:
    """What a listing found."""

    listed: int = 0
    ignored: int = 0
    settled: int = 0
    unsettled: list[Occurrence] = field(default_factory=list)
    is_proven: bool = True
    """Whether what counted as settled was told by heads that know every commit."""


class Index:
    """Looks occurrences up, remembering the heads of checkpoints while one plan is made."""

    def __init__(self, ports: Ports, scope: str, epoch: int) -> None:
        self._ports = ports
        self._scope = scope
        self._epoch = epoch
        self._heads: dict[str, Head] = {}

    async def unsettled(self, occurrences: list[Occurrence]) -> list[Occurrence]:
        """Those that no live mark settles, in order."""
        marks = await self._ports.occurrences.find(self._scope, [o.id for o in occurrences], epoch=self._epoch)
        live = {
            mark: await self._live(mark)
            for found in marks.values()
            for mark in found
            if mark.disposition is Disposition.MERGED
        }
        return unsettled(occurrences, marks, live)

    async def _live(self, mark: Mark) -> bool:
        if mark.checkpoint not in self._heads:
            self._heads[mark.checkpoint] = await self._ports.checkpoints.head(mark.checkpoint)
        return self._heads[mark.checkpoint].counts(mark.version)

    async def is_complete(self) -> bool:
        """Whether no checkpoint is ahead of the head that was asked; what it is ahead by may undo what was settled."""
        for name, head in self._heads.items():
            info = await self._ports.objects.head(*name.split("/", 1))
            if info is not None and int(info.metadata.get(STAMP_VERSION, 0)) > head.version:
                return False
        return True


async def find_unsettled(
    ports: Ports, pipeline: Pipeline, payload: ScanPayload, scope: str, watermark: str | None
) -> Found:
    """List every version in the source and keep what is not settled.

    Raises:
        MissingObjectError: the bucket does not exist.
        AccessDeniedError: it may not be listed.
    """
    bucket = payload.source_bucket or pipeline.source.bucket or ports.raw_bucket
    prefix = pipeline.source.prefix if payload.prefix is None else payload.prefix
    lag_hours = pipeline.source.lag_hours if isinstance(pipeline.source, ObjectSource) else 0
    index = Index(ports, scope, await ports.checkpoints.epoch(scope))
    found = Found()
    page: list[Occurrence] = []
    with ports.telemetry.segment("list"):
        async for info in _versions(ports, bucket, prefix):
            found.listed += 1
            if not pipeline.source.accepts(info.key, prefix=prefix):
                found.ignored += 1
            elif needs_check(info.last_modified, watermark, lag_hours):
                page.append(Occurrence(bucket=bucket, key=info.key, version_id=info.version_id, etag=info.etag))
                if len(page) == LOOKUP_PAGE:
                    await _keep(found, page, index)
                    page = []
            else:
                found.settled += 1
    await _keep(found, page, index)
    found.is_proven = await index.is_complete()
    return found


def _versions(ports: Ports, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
    return ports.objects.list_versions(bucket, prefix)


async def _keep(found: Found, page: list[Occurrence], index: Index) -> None:
    if page:
        new = await index.unsettled(page)
        found.settled += len(page) - len(new)
        found.unsettled += new
