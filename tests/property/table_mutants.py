"""Steps of keyed appends bent one at a time: each has its reason, and random merges must notice its absence."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from services.merger.adapters.append.prepared import PreparedAppend
from services.merger.adapters.key_column import Chunk, Range, Wanted, chunks_of, joined, range_of
from services.merger.adapters.keys import S3TableKeys, _Keys, _Search
from services.merger.ports import AtHand
from services.runtime.objects import ObjectInfo
from tests.property.append_mutants import MUTANTS as APPEND_MUTANTS

KEYS = "services.merger.adapters.keys"
STRATEGY = "services.merger.adapters.append.strategy"


def greatest_is_outside(self: Wanted, found: Range | None) -> bool:
    """The greatest key of a row group is not looked for in it."""
    if found is None:
        return True
    at = bisect_left(self._sorted, found[0], key=str)
    return at < len(self._sorted) and str(self._sorted[at]) < found[1]


def least_is_outside(self: Wanted, found: Range | None) -> bool:
    """The least key of a row group is not looked for in it."""
    if found is None:
        return True
    at = bisect_right(self._sorted, found[0], key=str)
    return at < len(self._sorted) and str(self._sorted[at]) <= found[1]


def unknown_is_empty(self: Wanted, found: Range | None) -> bool:
    """A row group of which nobody says what it holds holds nothing."""
    return found is not None and _meet(self, found)


_meet = Wanted.meet


def asks_what_it_knows(self: _Keys, wanted: Wanted) -> list[pa.ChunkedArray]:
    """Row groups whose keys are not known are passed over."""
    return [self.known[chunk.start] for chunk in self.chunks if chunk.start in self.known and wanted.may_be_in(chunk)]


def lacks_nothing(self: _Keys, wanted: Wanted) -> list[Chunk]:
    """What is not known is not fetched."""
    del self, wanted
    return []


class AsksWhatItKnows(_Keys):
    """Nothing is fetched but what comes with a footer."""

    __slots__ = ()
    lacking = lacks_nothing
    near = asks_what_it_knows


def all_was_copied(self: PreparedAppend, size: int, body: bytes) -> AtHand | None:
    """What was known of row groups that were written anew is taken for what they hold now."""
    found = _at_hand(self, size, body)
    return None if found is None else replace(found, copied=size)


_at_hand = PreparedAppend._at_hand


def begins_where_it_was_kept(self: PreparedAppend, size: int, body: bytes) -> AtHand | None:
    """The end at hand is thought to be all that was sent."""
    found = _at_hand(self, size, body)
    return None if found is None else replace(found, start=self.end.kept)


def new_keys_only(metadata: pq.FileMetaData, column: str | None, rows: pa.Table) -> Range | None:
    """The range is that of what came now."""
    del metadata
    return None if column is None else range_of(rows.column(column))


def old_keys_only(metadata: pq.FileMetaData, column: str | None, rows: pa.Table) -> Range | None:
    """The range is that of what was there."""
    del rows
    return joined([chunk.range for chunk in chunks_of(metadata, column or "") if chunk.range is not None])


async def keys_of_any_version(self: S3TableKeys, search: _Search, info: ObjectInfo) -> list[pa.ChunkedArray]:
    """A file's keys are believed after the file changed."""
    kept = self._keys.get(f"{search.bucket}/{info.key}")
    return await _read(self, search, info if kept is None else replace(info, etag=kept.etag))


_read = S3TableKeys._read


async def remembers_nothing_new(
    self: S3TableKeys, pipeline: Pipeline, bucket: str, info: ObjectInfo, written: AtHand
) -> None:
    """What was known of a file is carried on as it is."""
    del pipeline, written
    before = self._keys.get(f"{bucket}/{info.key}")
    if before is not None:
        self._keep(f"{bucket}/{info.key}", replace(before, etag=info.etag))


async def clears_no_notes(*_: object) -> None:
    """A commit that somebody began is not shut out."""


MUTANTS: Mapping[str, tuple[str, Any]] = {
    "greatest-is-outside": (f"{KEYS}.Wanted.meet", greatest_is_outside),
    "least-is-outside": (f"{KEYS}.Wanted.meet", least_is_outside),
    "unknown-is-empty": (f"{KEYS}.Wanted.meet", unknown_is_empty),
    "asks-what-it-knows": (f"{KEYS}._Keys", AsksWhatItKnows),
    "all-was-copied": ("services.merger.adapters.append.prepared.PreparedAppend._at_hand", all_was_copied),
    "begins-where-it-was-kept": (
        "services.merger.adapters.append.prepared.PreparedAppend._at_hand",
        begins_where_it_was_kept,
    ),
    "new-keys-only": (f"{STRATEGY}.range_with", new_keys_only),
    "old-keys-only": (f"{STRATEGY}.range_with", old_keys_only),
    "keys-of-any-version": (f"{KEYS}.S3TableKeys._read", keys_of_any_version),
    "remembers-nothing-new": (f"{KEYS}.S3TableKeys.remember", remembers_nothing_new),
    "clears-no-notes": ("services.merger.use_case.tables.clear_notes", clears_no_notes),
} | {
    name: APPEND_MUTANTS[name]
    for name in ("keeps-one-more", "forgets-what-was-before", "names-no-commit", "new-before-old")
}
