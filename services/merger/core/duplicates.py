"""Rows that a load or its generation has already: the same record under the same key.

The hash is over the whole record, key included. That equal hashes mean equal records is true of records that nobody
crafted, so the keys of rows whose hashes meet are compared, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import EntityField
from services.merger.core.record_hash import digests_of_text, key_forms

JOINT = pa.scalar(b"", pa.binary())


@dataclass(frozen=True, slots=True)
class Identities:
    """What tells records apart: the digest of each and the canonical form of its key."""

    digests: pa.Array
    keys: pa.Array

    @classmethod
    def of(cls, rows: pa.Table, key: Sequence[EntityField], digests: pa.Array) -> "Identities":
        """Those of these rows."""
        return cls(digests, key_forms(rows, key))

    @classmethod
    def of_part(cls, rows: pa.Table, key: Sequence[EntityField], column: str) -> "Identities":
        """Those of rows of bronze, which have their hash in a column."""
        return cls.of(rows, key, digests_of_text(rows.column(column)))

    def whole(self) -> pa.Array:
        """Digest and key of each in one."""
        return pc.binary_join_element_wise(self.digests.cast(pa.binary()), self.keys, JOINT)


def joined(several: Sequence[Identities]) -> Identities | None:
    """All of them, or None where there are none."""
    filled = [each for each in several if len(each.digests)]
    if not filled:
        return None
    return Identities(
        pa.concat_arrays([each.digests for each in filled]), pa.concat_arrays([each.keys for each in filled])
    )


def new_rows(
    rows: pa.Table, key: Sequence[EntityField], digests: pa.Array, known: Identities | None
) -> pa.Array | None:
    """A mask of the rows that are not known and not the same as an earlier row; None where all are new."""
    distinct = len(digests.unique()) == len(digests)
    hit = known is not None and pc.any(pc.is_in(digests, value_set=known.digests)).as_py()
    if distinct and not hit:
        return None
    whole = Identities.of(rows, key, digests).whole()
    codes = whole.dictionary_encode().indices.cast(pa.int64())  # numbered in order of first appearance
    highest = pc.cumulative_max(codes)
    before = pa.concat_arrays([pa.array([-1], pa.int64()), highest.slice(0, len(highest) - 1)])
    firsts = pc.greater(codes, before)
    if known is None:
        return firsts
    return pc.and_(firsts, pc.invert(pc.is_in(whole, value_set=known.whole())))
