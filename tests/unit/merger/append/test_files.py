"""Files that are appended to: what is written, and what is refused."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.merger.adapters.append.footer import (
    Ending,
    ForeignFileError,
    footer_before,
    groups_of,
    read_footer,
)
from services.merger.adapters.append.layout import LAYOUT_KEY, Layout
from services.merger.adapters.append.tail import TailMerge, read_groups
from services.merger.adapters.append.writer import MAGIC, GroupWriter, footer_bytes
from services.merger.adapters.tables import COMMIT_KEY
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectInfo

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("place", pa.struct([("latitude", pa.float64()), ("longitude", pa.float64())])),
        ("number", pa.int64()),
    ]
)
LAYOUT = Layout(SCHEMA, "at", target=4)
COMMITTED = ObjectInfo("key", "etag", 0, metadata={"tidegate-commit": "c1"})
GIB = 1 << 30


def rows(*moments: int) -> pa.Table:
    """Rows at these moments, in microseconds."""
    return pa.table(
        [
            [f"t{moment}" for moment in moments],
            pa.array(moments, pa.timestamp("us", tz="UTC")),
            [{"latitude": 1.0, "longitude": float(moment)} for moment in moments],
            list(moments),
        ],
        schema=SCHEMA,
    )


def file_of(table: pa.Table, layout: Layout = LAYOUT, commit: str = "c1") -> bytes:
    """These rows as a file that is laid out."""
    merge = TailMerge(layout, GroupWriter(layout, commit, 0, None), table, layout.target)
    return merge.take(layout.schema.empty_table(), last=True)


def written_by_another(table: pa.Table, stamps: Mapping[bytes, bytes], group_rows: int = 4) -> bytes:
    """These rows as somebody else writes them."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.add_key_value_metadata(dict(stamps))
        writer.write_table(table, row_group_size=group_rows)
    return sink.getvalue()


OURS = {COMMIT_KEY: b"c1", LAYOUT_KEY: LAYOUT.mark}
WHOLE = file_of(rows(*range(10)))


def test_a_whole_file_is_read_back() -> None:
    """The footer says where each group lies and what moments it holds."""
    footer = read_footer(Ending(0, WHOLE), LAYOUT, COMMITTED)
    assert [(group.rows, group.least, group.greatest) for group in footer.groups] == [(4, 0, 3), (4, 4, 7), (2, 8, 9)]
    assert footer.groups[0].start == len(MAGIC)
    assert footer.rows == 10
    assert footer.greatest == 9


@pytest.mark.parametrize("kept", [1, 2])
def test_every_group_begins_behind_a_file(kept: int) -> None:
    """The footer before a group is that of the groups before it, and ends a file of them."""
    ending = Ending(0, WHOLE)
    footer = read_footer(ending, LAYOUT, COMMITTED)
    before = footer_before(ending, footer, kept, LAYOUT)
    assert before.groups == footer.groups[:kept]
    beginning = WHOLE[: footer.groups[kept].start]
    assert pq.ParquetFile(io.BytesIO(beginning)).read().equals(rows(*range(4 * kept)))


def test_groups_are_read_from_their_own_bytes() -> None:
    """Groups are read without anything before them, and without the file's end."""
    footer = read_footer(Ending(0, WHOLE), LAYOUT, COMMITTED)
    begin, after = footer.groups[1].start, footer.groups[2].end
    piece = Ending(begin, WHOLE[begin:after])
    found = pa.concat_tables(read_groups(piece, footer, (1, 3), LAYOUT, "s3://b/k"))
    assert found.equals(rows(*range(4, 10)))
    with pytest.raises(CorruptCheckpointError, match="s3://b/k cannot be read"):
        next(read_groups(piece, footer, (0, 1), LAYOUT, "s3://b/k"))
    broken = Ending(begin, bytes(after - begin))
    with pytest.raises(CorruptCheckpointError, match="s3://b/k cannot be read"):
        next(read_groups(broken, footer, (1, 3), LAYOUT, "s3://b/k"))


def test_groups_are_decoded_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows groups have, so many of them are decoded at once, in order and across groups."""
    monkeypatch.setattr("services.merger.adapters.append.tail.SLICE_ROWS", 3)
    footer = read_footer(Ending(0, WHOLE), LAYOUT, COMMITTED)
    slices = list(read_groups(Ending(0, WHOLE), footer, (0, 3), LAYOUT, "s3://b/k"))
    assert max(found.num_rows for found in slices) <= 3
    assert pa.concat_tables(slices).equals(rows(*range(10)))


def test_a_file_without_rows() -> None:
    """No rows make a file without groups, to which groups can be added."""
    empty = file_of(rows())
    assert pq.ParquetFile(io.BytesIO(empty)).read().equals(rows())
    footer = read_footer(Ending(0, empty), LAYOUT, COMMITTED)
    assert (footer.groups, footer.greatest) == ((), None)
    more = GroupWriter(LAYOUT, "c2", len(empty), footer.metadata).group(rows(1, 2))
    assert pq.ParquetFile(io.BytesIO(empty + more)).read().equals(rows(1, 2))


def test_a_footer_alone_restamps_a_file() -> None:
    """A commit without rows changes nothing but the commit that the file names."""
    footer = read_footer(Ending(0, WHOLE), LAYOUT, COMMITTED)
    again = WHOLE + GroupWriter(LAYOUT, "c2", len(WHOLE), footer.metadata).end()
    file = pq.ParquetFile(io.BytesIO(again))
    assert file.metadata.metadata[COMMIT_KEY] == b"c2"
    assert file.read().equals(rows(*range(10)))


def test_offsets_beyond_32_bits(tmp_path: Path) -> None:
    """A group that begins 6 GiB into an object is found there by every reader."""
    path = tmp_path / "large.parquet"
    with path.open("wb") as file:  # a hole where groups would be: it takes no room on the disk
        file.write(MAGIC)
        file.seek(6 * GIB)
        file.write(GroupWriter(LAYOUT, "c1", 6 * GIB, None).group(rows(*range(4))))
    assert path.stat().st_blocks * 512 < GIB
    assert pq.ParquetFile(path).read().equals(rows(*range(4)))
    with duckdb.connect() as connection:
        assert connection.read_parquet(str(path)).sum("number").fetchall() == [(6,)]
    (group,) = groups_of(pq.ParquetFile(path).metadata, LAYOUT)
    assert group.start == 6 * GIB


def test_windows_do_not_show() -> None:
    """Merging window by window writes the same bytes as merging all at once, ties across windows included."""
    old, new = rows(1, 2, 2, 2, 2, 2, 3, 9), rows(9, 2, 2, 0, 5)
    whole = TailMerge(LAYOUT, GroupWriter(LAYOUT, "c1", 0, None), new, 4).take(old, last=True)
    for cut in range(1, 8):
        merge = TailMerge(LAYOUT, GroupWriter(LAYOUT, "c1", 0, None), new, 4)
        parts = merge.take(old.slice(0, cut), last=False) + merge.take(old.slice(cut), last=True)
        assert parts == whole
    assert pq.ParquetFile(io.BytesIO(whole)).read().column("number").to_pylist() == [
        *(0, 1, 2, 2, 2, 2, 2, 2, 2),
        *(3, 5, 9, 9),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"not a file at all", "no footer ends", id="not-parquet"),
        pytest.param(b"abc", "are not among", id="too-short"),
        pytest.param(bytes(40) + (99).to_bytes(4, "little") + MAGIC, "are not among", id="footer-longer-than-the-file"),
        pytest.param(bytes(40) + (9).to_bytes(4, "little") + MAGIC, "cannot be read", id="footer-of-zeros"),
        pytest.param(written_by_another(rows(1), {}), "its layout is None", id="no-mark"),
        pytest.param(file_of(rows(1), Layout(SCHEMA, "at", target=8)), "its layout is", id="other-target"),
        pytest.param(file_of(rows(1), Layout(SCHEMA, "number", target=4)), "its layout is", id="other-order"),
        pytest.param(file_of(rows(1), commit="c2"), "different commits", id="other-commit"),
        pytest.param(
            written_by_another(rows(1).drop_columns(["text"]), OURS), "its columns are others", id="other-columns"
        ),
        pytest.param(written_by_another(rows(8, 9, 10, 11, 1), OURS), "not where it belongs", id="groups-out-of-order"),
        pytest.param(
            written_by_another(
                pa.concat_tables([rows(1), rows(2).set_column(1, "at", pa.nulls(1, SCHEMA.field(1).type))]), OURS
            ),
            "does not say where in the order",
            id="rows-without-a-moment",
        ),
    ],
)
def test_what_cannot_be_appended_to(body: bytes, reason: str) -> None:
    """A file that is not ours, or not as its footer says, is refused with the reason."""
    with pytest.raises(ForeignFileError, match=reason):
        read_footer(Ending(0, body), LAYOUT, COMMITTED)


def test_a_boundary_that_is_none() -> None:
    """Where no footer of the groups before stands before a group, the file is refused."""
    footer = read_footer(Ending(0, WHOLE), LAYOUT, COMMITTED)
    end = footer.groups[1].start
    first = footer_bytes(footer_before(Ending(0, WHOLE), footer, 1, LAYOUT).metadata)
    too_long = end - footer.groups[0].end - 8 + 1
    for wrong, reason in (
        (bytes(len(first)), "no footer ends"),
        (bytes(len(first) - 8) + first[-8:], "cannot be read"),
        (too_long.to_bytes(4, "little") + MAGIC, "too long"),
    ):
        damaged = WHOLE[: end - len(wrong)] + wrong + WHOLE[end:]
        with pytest.raises(ForeignFileError, match=reason):
            footer_before(Ending(0, damaged), footer, 1, LAYOUT)
    others = footer_bytes(GroupWriter(LAYOUT, "c1", 0, None).footer)
    damaged = WHOLE[: end - len(others)] + others + WHOLE[end:]
    with pytest.raises(ForeignFileError, match="not that of the first 1 groups"):
        footer_before(Ending(0, damaged), footer, 1, LAYOUT)


def test_the_greatest_moment_is_told_as_ever() -> None:
    """A cursor is the same text whether the greatest row is old, new, or there is none."""
    moment = datetime(1970, 1, 1, 0, 0, 0, 7, tzinfo=UTC).isoformat()
    assert LAYOUT.cursor(7, rows(3)) == moment
    assert LAYOUT.cursor(3, rows(7, 1)) == moment
    assert LAYOUT.cursor(7, rows()) == moment
    assert LAYOUT.cursor(None, rows()) is None
