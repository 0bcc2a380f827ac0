"""The hash of a record: MD5 over its canonical form."""

import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from contracts.fields import EntityField
from services.merger.core.canonical import OFFSET_BYTES, blocks, forms_of

try:
    from _md5 import md5  # type: ignore[import-not-found] # a quarter faster than OpenSSL's on texts this short
except ImportError:
    from hashlib import md5

if TYPE_CHECKING:
    from hashlib import _Hash

DIGEST_BYTES = 16
DIGEST = pa.binary(DIGEST_BYTES)


def record_digests(rows: pa.Table, fields: Sequence[EntityField]) -> pa.Array:
    """The hash of every row over these fields, 16 bytes each."""
    digests: list[bytes] = []
    for block in blocks(rows):
        forms, starts, which = forms_of(block, fields)
        digests.extend(_digests(forms, [md5(start, usedforsecurity=False) for start in starts], which))
    return pa.Array.from_buffers(DIGEST, rows.num_rows, [None, pa.py_buffer(b"".join(digests))])


def text_of(digests: pa.Array) -> pa.Array:
    """Hashes as bronze has them: 32 hexadecimal digits."""
    start = digests.offset * DIGEST_BYTES
    data = memoryview(digests.buffers()[1])[start : start + len(digests) * DIGEST_BYTES]
    digits = pa.py_buffer(data.hex().encode())
    return pa.Array.from_buffers(pa.binary(2 * DIGEST_BYTES), len(digests), [None, digits]).cast(pa.string())


def digests_of_text(texts: pa.ChunkedArray) -> pa.Array:
    """Hashes from their hexadecimal digits.

    Raises:
        pyarrow.ArrowInvalid, ValueError: some are no such hashes.
    """
    fixed = texts.cast(pa.binary()).combine_chunks().cast(pa.binary(2 * DIGEST_BYTES))
    start = fixed.offset * 2 * DIGEST_BYTES
    digits = memoryview(fixed.buffers()[1])[start : start + len(fixed) * 2 * DIGEST_BYTES]
    return pa.Array.from_buffers(DIGEST, len(fixed), [None, pa.py_buffer(bytes.fromhex(bytes(digits).decode()))])


def key_forms(rows: pa.Table, key: Sequence[EntityField]) -> pa.Array:
    """The canonical form of each row's key, without the header that all keys of an entity share."""
    found = [forms_of(block, key)[0] for block in blocks(rows)]
    return pa.concat_arrays(found) if found else pa.array([], pa.binary())


def _digests(forms: pa.Array, starts: Sequence["_Hash"], which: Sequence[int] | None) -> list[bytes]:
    """Digest each form, after the start that is its own; the one loop over rows that there is."""
    ends = array.array("i")
    ends.frombytes(memoryview(forms.buffers()[1])[: OFFSET_BYTES * (len(forms) + 1)])
    data = b"" if forms.buffers()[2] is None else forms.buffers()[2].to_pybytes()
    found: list[bytes] = []
    add = found.append
    begin = ends[0]
    if which is None:
        again = starts[0].copy
        for end in ends[1:].tolist():
            digest = again()
            digest.update(data[begin:end])
            add(digest.digest())
            begin = end
        return found
    copies = [start.copy for start in starts]
    for end, start in zip(ends[1:].tolist(), which, strict=True):
        digest = copies[start]()
        digest.update(data[begin:end])
        add(digest.digest())
        begin = end
    return found
