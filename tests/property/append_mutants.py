"""Steps of the append merge bent one at a time: each has its reason, and random merges must notice its absence."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.merger.adapters.append.assembly import Assembly
from services.merger.adapters.append.ends import Job
from services.merger.adapters.append.footer import Ending, Footer, read_footer
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.tail import TailMerge
from services.merger.adapters.append.writer import GroupWriter, footer_bytes
from services.merger.core.append import Group, kept_groups
from services.runtime.multipart import cuts
from services.runtime.objects import IF_ABSENT, ObjectInfo

APPEND = "services.merger.adapters.append"
CORE = "services.merger.core.append"


def keeps_one_more(groups: Sequence[Group], earliest: int, new_rows: int, target: int) -> int:
    """The last group that has to move stays."""
    return min(len(groups), kept_groups(groups, earliest, new_rows, target) + 1)


def moves_everything(groups: Sequence[Group], earliest: int, new_rows: int, target: int) -> int:
    """Nothing stays."""
    del groups, earliest, new_rows, target
    return 0


def forgets_what_was_before(self: Job, offset: int, prior: Footer | None, group_rows: int) -> TailMerge:
    """The footer names the new groups alone."""
    del prior
    return TailMerge(self.layout, GroupWriter(self.layout, self.commit_id, offset, None), self.rows, group_rows)


def writes_from_zero(self: Job, offset: int, prior: Footer | None, group_rows: int) -> TailMerge:
    """Offsets are relative to the new end."""
    metadata = None if prior is None else prior.metadata
    writer = GroupWriter(self.layout, self.commit_id, 4 if offset else 0, metadata)
    return TailMerge(self.layout, writer, self.rows, group_rows)


def names_no_commit(self: Job, offset: int, prior: Footer | None, group_rows: int) -> TailMerge:
    """The content does not say which commit made it."""
    metadata = None if prior is None else prior.metadata
    return TailMerge(self.layout, GroupWriter(self.layout, "same", offset, metadata), self.rows, group_rows)


class OneFooter(GroupWriter):
    """A footer only where the file ends; which group is the last, it cannot know, so all of these lack theirs."""

    def group(self, rows: pa.Table) -> bytes:
        """See ``GroupWriter``."""
        whole = super().group(rows)
        tail = footer_bytes(self.footer)
        return whole[: -len(tail)] + bytes(len(tail)) if rows.num_rows == self._layout.target else whole


class _Bent(TailMerge):
    """One merge, bent by its subclasses."""


class NewBeforeOld(_Bent):
    """New rows come before old ones that tie with them."""

    def take(self, old: pa.Table, *, last: bool) -> bytes:
        """See ``TailMerge``."""
        order = self._layout.order_by
        due = self._new.num_rows if last else self._before(self._layout.order(old))
        merged = pa.concat_tables([self._new.slice(0, due), old])
        merged = merged.take(pc.sort_indices(merged, sort_keys=[(order, "ascending")]))
        self._new, self._order = self._new.slice(due), self._order.slice(due)
        return super().take(merged, last=last)


class TiesDoNotWait(_Bent):
    """A new row that ties with the last old one of a window is written before the old ones of the next window."""

    def _before(self, old: pa.ChunkedArray) -> int:
        return int(pc.sum(pc.less_equal(self._order, old[-1]), min_count=0).as_py())


class EverythingIsDue(_Bent):
    """All new rows are written among the old ones of the first window."""

    def _before(self, old: pa.ChunkedArray) -> int:
        del old
        return int(self._new.num_rows)


class LosesTheRest(_Bent):
    """Rows that do not fill a group are forgotten."""

    def take(self, old: pa.Table, *, last: bool) -> bytes:
        """See ``TailMerge``."""
        written = super().take(old, last=last)
        self._merged = self._merged.slice(0, 0)
        return written


class LeavesNewUnsorted(_Bent):
    """New rows are taken in the order they come in."""

    def __init__(self, layout: Layout, writer: GroupWriter, rows: pa.Table, group_rows: int) -> None:
        super().__init__(layout, writer, rows, group_rows)
        self._new, self._order = rows, layout.order(rows)


def believes_the_mark(ending: Ending, layout: Layout, base: ObjectInfo) -> Footer:
    """Whoever carries our metadata on is believed to have written a file of ours."""
    stamps: Mapping[bytes, bytes] = pq.read_metadata(pa.BufferReader(ending.body)).metadata or {}
    commit = stamps.get(b"tidegate-commit", b"").decode()
    described = ObjectInfo(base.key, base.etag, base.size, metadata={"tidegate-commit": commit})
    return read_footer(ending, layout, described)


def takes_the_last_footer(ending: Ending, footer: Footer, kept: int, layout: Layout) -> Footer:
    """The footer of all groups stands for that of the first ones."""
    del ending, kept, layout
    return footer


async def replaces_anything(self: Assembly) -> ObjectInfo:
    """The swap is on whatever is there."""
    current = await self._stores.objects.head(self._to.bucket, self._to.key)
    self._if_match = IF_ABSENT if current is None else current.etag
    return await _finish(self)


_finish = Assembly.finish


async def leaves_parts_behind(self: Assembly, *_: object) -> None:
    """What is given up is not aborted."""
    del self


def cuts_short(start: int, end: int) -> list[tuple[int, int]]:
    """The last byte of each copy is missing."""
    return [(first, after - 1) for first, after in cuts(start, end)]


def knows_new_rows_only(self: Layout, greatest_before: int | None, table: pa.Table) -> str | None:
    """The greatest value is taken from what was merged now."""
    del greatest_before
    return _cursor(self, None, table)


_cursor = Layout.cursor

MUTANTS: Mapping[str, tuple[str, Any]] = {
    "keeps-one-more": (f"{CORE}.kept_groups", keeps_one_more),
    "moves-everything": (f"{CORE}.kept_groups", moves_everything),
    "forgets-what-was-before": (f"{APPEND}.ends.Job.merge", forgets_what_was_before),
    "writes-from-zero": (f"{APPEND}.ends.Job.merge", writes_from_zero),
    "names-no-commit": (f"{APPEND}.ends.Job.merge", names_no_commit),
    "one-footer": (f"{APPEND}.ends.GroupWriter", OneFooter),
    "new-before-old": (f"{APPEND}.ends.TailMerge", NewBeforeOld),
    "ties-do-not-wait": (f"{APPEND}.ends.TailMerge", TiesDoNotWait),
    "everything-is-due": (f"{APPEND}.ends.TailMerge", EverythingIsDue),
    "loses-the-rest": (f"{APPEND}.ends.TailMerge", LosesTheRest),
    "leaves-new-unsorted": (f"{APPEND}.ends.TailMerge", LeavesNewUnsorted),
    "believes-the-mark": (f"{APPEND}.strategy.read_footer", believes_the_mark),
    "takes-the-last-footer": (f"{APPEND}.ends.footer_before", takes_the_last_footer),
    "replaces-anything": (f"{APPEND}.assembly.Assembly.finish", replaces_anything),
    "leaves-parts-behind": (f"{APPEND}.assembly.Assembly.__aexit__", leaves_parts_behind),
    "cuts-short": (f"{APPEND}.assembly.cuts", cuts_short),
    "knows-new-rows-only": (f"{APPEND}.layout.Layout.cursor", knows_new_rows_only),
}
