"""The canonical form of a record, the same whoever reads the record and whenever.

Only fields that have a value take part, in order of their names (as UTF-8 bytes):

    header · one cell a field · the texts

header
    ``{number of fields};`` and for each of them ``{bytes of its name}:{name}={class};``, filled up with zero bytes to a
    multiple of 64, so that it is hashed once for all records that have the same fields.
cell
    8 bytes, little-endian, two's complement: of integers the value; of floats the bits of the 64-bit value (one zero,
    one NaN); of booleans 0 or 1; of dates the days, of times and timestamps the microseconds (since 1970-01-01 or
    midnight); of everything else the length of its text in bytes.
text
    of strings UTF-8, of binaries themselves, of decimals the shortest decimal notation (``-1.5``, ``0``, ``1200``); of
    lists the number of elements (8 bytes, as in a cell) and for each element a zero byte if it is null, or a one byte,
    its cell and its text.

Every part says how long it is, so two records have one form only if they are one record (docs/bronze.md has an
example). No column order, integer width, scale of a decimal or empty column can change it.
"""

import array
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import EntityField, TypeParts

BLOCK_ROWS = 131_072
"""Rows whose canonical form is in memory at a time."""
BLOCK_BYTES = 32 * 1024 * 1024
"""Bytes of rows whose canonical form is in memory at a time."""
HEADER_BYTES = 64
CELL = pa.binary(8)
EMPTY = pa.scalar(b"", pa.binary())
OFFSET_BYTES = 4
"""Of Arrow's offsets into texts and its dictionaries' indices; their buffers may be longer than what is in them."""

_PLAIN_SCALE = 6
"""Arrow writes decimals of a greater scale with exponents where they are small."""
_CLASSES = {
    "string": "s",
    "binary": "x",
    "boolean": "b",
    "int16": "i",
    "int32": "i",
    "int64": "i",
    "float32": "f",
    "float64": "f",
    "date": "D",
    "time_us": "T",
    "timestamp_us": "t",
    "timestamp_us_utc": "z",
    "decimal": "d",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """One field of a block: null in both where it has no value; no texts where cells say everything."""

    label: bytes
    cells: pa.Array
    texts: pa.Array | None


def class_of(type_: str) -> str:
    """The letter that stands for a type in a header; ``[`` before an element's makes it a list's."""
    parts = TypeParts.of(type_)
    return f"[{class_of(parts.item)}" if parts.item is not None else _CLASSES[parts.name]


def header(labels: Sequence[bytes]) -> bytes:
    """The header of records that have these fields."""
    text = b"%d;" % len(labels) + b"".join(labels)
    return text + bytes(-len(text) % HEADER_BYTES)


def label(field: EntityField) -> bytes:
    """What a header says of a field."""
    name = field.name.encode()
    return b"%d:%s=%s;" % (len(name), name, class_of(field.type).encode())


def canonical_forms(rows: pa.Table, fields: Sequence[EntityField]) -> list[bytes]:
    """The whole canonical form of every row: what is hashed."""
    found: list[bytes] = []
    for block in blocks(rows):
        forms, starts, which = forms_of(block, fields)
        used = [0] * block.num_rows if which is None else which
        found += [starts[start] + form for start, form in zip(used, forms.to_pylist(), strict=True)]
    return found


def blocks(rows: pa.Table) -> list[pa.RecordBatch]:
    """Rows in pieces of bounded size, each contiguous."""
    if rows.num_rows == 0:
        return []
    per_row = max(1, rows.nbytes // rows.num_rows)
    step = max(1, min(BLOCK_ROWS, BLOCK_BYTES // per_row))
    return [
        rows.slice(start, step).combine_chunks().to_batches(max_chunksize=step)[0]
        for start in range(0, rows.num_rows, step)
    ]


def forms_of(
    block: pa.RecordBatch, fields: Sequence[EntityField]
) -> tuple[pa.Array, list[bytes], Sequence[int] | None]:
    """Forms of a block without headers, the headers there are, and which is whose (None: all have the one)."""
    ordered = sorted(fields, key=lambda field: field.name.encode())
    columns = [_column(field, block.column(field.name)) for field in ordered]
    pieces = _cell_pieces(columns, block.num_rows)
    pieces += [column.texts for column in columns if column.texts is not None]
    if all(piece.null_count for piece in pieces):  # the join leaves out rows of which every piece is null
        pieces.append(pa.repeat(EMPTY, block.num_rows))
    forms = pc.binary_join_element_wise(*pieces, EMPTY, null_handling="skip")
    headers, which = _headers(columns)
    return forms, headers, which


def _cell_pieces(columns: Sequence[_Column], rows: int) -> list[pa.Array]:
    """Cells in order; neighbours that every row has are laid side by side in one piece."""
    pieces: list[pa.Array] = []
    run: list[pa.Array] = []
    for column in [*columns, None]:
        if column is not None and column.cells.null_count == 0:
            run.append(column.cells)
            continue
        if run:
            pieces.append(_side_by_side(run, rows).cast(pa.binary()))
            run = []
        if column is not None:
            pieces.append(column.cells.view(CELL).cast(pa.binary()))
    return pieces


def _side_by_side(arrays: Sequence[pa.Array], rows: int) -> pa.Array:
    """Values of several columns of one fixed width (none null), row after row."""
    names = [str(number) for number in range(len(arrays))]
    tensor = pa.RecordBatch.from_arrays(list(arrays), names).to_tensor(null_to_nan=False, row_major=True)
    width = len(arrays) * arrays[0].type.bit_width // 8
    return pa.Array.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(tensor)])


def _headers(columns: Sequence[_Column]) -> tuple[list[bytes], Sequence[int] | None]:
    partial = [column for column in columns if column.cells.null_count]
    if not partial:
        return [header([column.label for column in columns])], None
    present = [column.cells.is_valid().cast(pa.uint8()) for column in partial]
    patterns = _side_by_side(present, len(present[0])).dictionary_encode()
    headers = []
    for pattern in patterns.dictionary.to_pylist():
        absent = {column.label for column, there in zip(partial, pattern, strict=True) if not there}
        headers.append(header([column.label for column in columns if column.label not in absent]))
    which = array.array("i")
    which.frombytes(memoryview(patterns.indices.buffers()[1])[: OFFSET_BYTES * len(patterns)])
    return headers, which.tolist()


def _column(field: EntityField, values: pa.Array) -> _Column:
    cells, texts = _encoded(TypeParts.of(field.type), values)
    return _Column(label(field), cells, texts)


def _encoded(parts: TypeParts, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:  # noqa: PLR0911 - one a class
    match parts.name:
        case "list":
            return _with_lengths(_lists(parts, values))
        case "string" | "binary":
            return _with_lengths(values.cast(pa.binary()))
        case "decimal":
            return _with_lengths(_decimals(values).cast(pa.binary()))
        case "float32" | "float64":
            return _floats(values.cast(pa.float64())).view(pa.int64()), None
        case "date":
            return values.cast(pa.date32()).view(pa.int32()).cast(pa.int64()), None
        case "time_us":
            return values.cast(pa.time64("us")).view(pa.int64()), None
        case "timestamp_us" | "timestamp_us_utc":
            zone = "UTC" if parts.name.endswith("utc") else None
            return values.cast(pa.timestamp("us", tz=zone)).view(pa.int64()), None
    return values.cast(pa.int64()), None


def _with_lengths(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    return pc.binary_length(texts).cast(pa.int64()), texts


def _floats(values: pa.Array) -> pa.Array:
    plus_zero = pc.add(values, 0.0)  # turns -0.0 into 0.0
    return pc.if_else(pc.is_nan(plus_zero), pa.scalar(float("nan"), pa.float64()), plus_zero)


def _decimals(values: pa.Array) -> pa.Array:
    scale = values.type.scale
    texts = values.cast(pa.string())
    if scale <= 0:
        return texts
    if scale > _PLAIN_SCALE:
        texts = _without_exponents(texts)
    return pc.ascii_rtrim(pc.ascii_rtrim(texts, "0"), ".")


def _without_exponents(texts: pa.Array) -> pa.Array:
    """Decimal notation for the few values that come with an exponent; zero is one of them."""
    small = pc.match_substring(texts, "E")
    if not pc.any(small).as_py():
        return texts
    distinct = texts.filter(small).dictionary_encode()
    plain = pa.array([f"{Decimal(text):f}" for text in distinct.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, small.fill_null(False), plain.take(distinct.indices))


def _lists(parts: TypeParts, values: pa.Array) -> pa.Array:
    counts = pc.list_value_length(values).cast(pa.int64())
    cells, texts = _encoded(TypeParts.of(parts.item or ""), values.flatten())
    pieces = [cells.view(CELL).cast(pa.binary())] + ([] if texts is None else [texts])
    one, zero = pa.scalar(b"\x01", pa.binary()), pa.scalar(b"\x00", pa.binary())
    elements = pc.binary_join_element_wise(one, *pieces, EMPTY, null_handling="emit_null")
    ends = pc.cumulative_sum(counts.fill_null(0)).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, elements.fill_null(zero)), b"")
    return pc.binary_join_element_wise(counts.view(CELL).cast(pa.binary()), joined, EMPTY, null_handling="emit_null")
