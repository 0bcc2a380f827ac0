"""The append strategy: keep the groups before the earliest new row, and write the rest of the file anew.

A file that is not laid out for it is rewritten once, as one that is.
"""

import asyncio
from dataclasses import dataclass

import pyarrow as pa
import structlog

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.ends import Job, NewEnd, Source, extended, laid_out, replaced
from services.merger.adapters.append.footer import Ending, Footer, ForeignFileError, footer_start, read_footer
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.prepared import PreparedAppend
from services.merger.adapters.key_column import range_of, range_with
from services.merger.adapters.rewrite import Rewrite, read_checkpoint
from services.merger.adapters.tables import keys_of
from services.merger.core.append import GROUPS, TARGET_ROWS, WINDOW_BYTES, Way, laid_out_rows, plan
from services.merger.ports import Prepared
from services.runtime.objects import ObjectInfo, Span

log = structlog.get_logger()

ENDING_BYTES = 256 * 1024
"""Bytes read of the end of a file: its footer, and mostly the last groups, too."""

AT_HAND_BYTES = 16 * 1024 * 1024
"""Bytes kept of a long end while it is sent, so that its keys need not be read."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large things are; others than these are for tests."""

    target: int = TARGET_ROWS
    most_groups: int = GROUPS
    window_bytes: int = WINDOW_BYTES
    ending_bytes: int = ENDING_BYTES
    at_hand_bytes: int = AT_HAND_BYTES


USUAL = Sizes()


class Append:
    """Appends to checkpoints that are ordered by integers or times; whoever chooses it has seen to that."""

    name = "append"

    def __init__(self, stores: Stores, sizes: Sizes = USUAL) -> None:
        self._stores = stores
        self._sizes = sizes
        self._rewrite = Rewrite(stores.objects)

    async def prepare(
        self, destination: Destination, pipeline: Pipeline, base: ObjectInfo | None, rows: pa.Table, commit_id: str
    ) -> Prepared:
        """See the port."""
        layout = Layout.of(pipeline, self._sizes.target)
        rows = rows.select(layout.schema.names).cast(layout.schema)
        old = layout.schema.empty_table()
        if base is not None and not layout.has_gaps(rows):
            source = Source(self._stores.multipart, destination, base)
            try:
                return await self._append(source, Job(layout, rows, commit_id))
            except ForeignFileError as error:
                log.info("laying out a checkpoint anew, so that it can be appended to", reason=str(error))
            body = await source.read(0, base.size)
            old = await asyncio.to_thread(read_checkpoint, body, layout.schema, destination.uri)
        if layout.has_gaps(rows) or layout.has_gaps(old):
            return await self._rewrite.prepare(destination, pipeline, base, rows, commit_id)
        whole = pa.concat_tables([old, rows])
        group_rows = laid_out_rows(whole.num_rows, self._sizes.target, self._sizes.most_groups)
        return PreparedAppend(
            stores=self._stores,
            destination=destination,
            base=base,
            source=None,
            end=await laid_out(Job(layout, rows, commit_id), old, group_rows),
            way=Way.LAID_OUT,
            total_rows=whole.num_rows,
            max_cursor=layout.cursor(None, whole),
            at_hand_bytes=self._at_hand_bytes(layout),
            key_range=range_of(keys_of(whole, pipeline)),
        )

    async def prepare_restored(
        self,
        destination: Destination,
        pipeline: Pipeline,
        base: ObjectInfo | None,
        earlier: str | None,
        commit_id: str,
        without: pa.ChunkedArray | None = None,
    ) -> Prepared:
        """See the port. A version that is laid out gets a footer with this commit's stamp, and is not read."""
        layout = Layout.of(pipeline, self._sizes.target)
        if earlier is not None and not without:
            span = Span(None, self._sizes.ending_bytes)
            found = await self._stores.objects.get(destination.bucket, destination.key, version_id=earlier, span=span)
            source = Source(self._stores.multipart, destination, found.info)
            ending = Ending(found.info.size - len(found.body), found.body)
            try:
                ending = await source.longer(ending, footer_start(ending))
                footer = read_footer(ending, layout, found.info)
            except ForeignFileError as error:
                log.info("writing anew a version that cannot be appended to", reason=str(error))
            else:
                job = Job(layout, layout.schema.empty_table(), commit_id)
                end = await extended(job, footer, found.info.size)
                return self._prepared(source, job, footer, base, end, Way.APPENDED)
        return await self._rewrite.prepare_restored(destination, pipeline, base, earlier, commit_id, without)

    async def _append(self, source: Source, job: Job) -> Prepared:
        size = source.info.size
        start = max(0, size - self._sizes.ending_bytes)
        ending = Ending(start, await source.read(start, size))
        ending = await source.longer(ending, footer_start(ending))
        footer = read_footer(ending, job.layout, source.info)
        planned = plan(
            footer.groups,
            job.layout.least(job.rows),
            job.rows.num_rows,
            target=self._sizes.target,
            most_groups=self._sizes.most_groups,
            window_bytes=self._sizes.window_bytes,
        )
        log.info(
            "append planned",
            way=planned.way.value,
            new_rows=job.rows.num_rows,
            moved_rows=planned.moved_rows,
            groups=len(footer.groups),
            kept_groups=planned.kept,
            streamed=planned.is_streamed,
        )
        if planned.kept == len(footer.groups):
            end = await extended(job, footer, size)
        else:
            end = await replaced(job, source, footer, planned, ending)
        return self._prepared(source, job, footer, source.info, end, planned.way)

    def _prepared(
        self, source: Source, job: Job, footer: Footer, base: ObjectInfo | None, end: NewEnd, way: Way
    ) -> PreparedAppend:
        return PreparedAppend(
            stores=self._stores,
            destination=source.destination,
            base=base,
            source=source.info,
            end=end,
            way=way,
            total_rows=footer.rows + job.rows.num_rows,
            max_cursor=job.layout.cursor(footer.greatest, job.rows),
            at_hand_bytes=self._at_hand_bytes(job.layout),
            key_range=range_with(footer.metadata, job.layout.row_key, job.rows),
        )

    def _at_hand_bytes(self, layout: Layout) -> int:
        return 0 if layout.row_key is None else self._sizes.at_hand_bytes
