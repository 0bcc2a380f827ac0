"""What bronze has already: keys and hashes of the parts that can hold rows of a load, and nothing else of them."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.fields import EntityField
from contracts.loads import LoadPart
from services.merger.adapters.types import RECORD_HASH, cursor_scalar, schema_of
from services.merger.core.duplicates import Identities, joined
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectStore, Span

WHOLE_BYTES = 1024 * 1024
"""Parts up to this size are read in one request; of larger ones the footer, then the columns that are needed."""
FOOTER_BYTES = 64 * 1024


class _Spans(io.RawIOBase):
    """A file of which some spans are in memory; reading others is a defect."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._spans: list[tuple[int, bytes]] = []
        self._at = 0

    def add(self, offset: int, body: bytes) -> None:
        self._spans.append((offset, body))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        for offset, body in self._spans:
            if offset <= self._at and end <= offset + len(body):
                found = body[self._at - offset : end - offset]
                self._at = end
                return found
        raise EOFError(f"bytes {self._at} to {end} were not fetched")


async def known_rows(
    objects: ObjectStore, bucket: str, part: LoadPart, key: Sequence[EntityField], cursor: EntityField, least: str
) -> Identities | None:
    """Identities of a part's rows at and after a cursor; None where it has none.

    Raises:
        CorruptCheckpointError: the part cannot be read as one.
        MissingObjectError: it is gone.
    """
    names = [*(field.name for field in key), cursor.name, RECORD_HASH]
    try:
        file = await _opened(objects, bucket, part, sorted(set(names)))
        rows = file.read(columns=sorted(set(names)))
        bound = cursor_scalar(least, rows.schema.field(cursor.name).type)
        rows = rows.filter(pc.greater_equal(rows.column(cursor.name), bound))
        typed = rows.select([field.name for field in key]).cast(schema_of(key))
        typed = typed.append_column(RECORD_HASH, rows.column(RECORD_HASH))
        return joined([Identities.of_part(typed, key, RECORD_HASH)]) if typed.num_rows else None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptCheckpointError(f"s3://{bucket}/{part.key} cannot be read as a part: {error}") from error


async def _opened(objects: ObjectStore, bucket: str, part: LoadPart, names: Sequence[str]) -> pq.ParquetFile:
    if part.size <= WHOLE_BYTES:
        return pq.ParquetFile(io.BytesIO((await objects.get(bucket, part.key)).body))
    tail = await objects.get(bucket, part.key, span=Span(None, FOOTER_BYTES))
    needed = int.from_bytes(tail.body[-8:-4], "little") + 8
    if needed > len(tail.body):
        tail = await objects.get(bucket, part.key, span=Span(None, needed))
    metadata = pq.read_metadata(io.BytesIO(tail.body))
    file = _Spans(tail.info.size)
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema in names:
                start = column.dictionary_page_offset or column.data_page_offset
                span = Span(start, column.total_compressed_size)
                file.add(start, (await objects.get(bucket, part.key, version_id=tail.info.version_id, span=span)).body)
    return pq.ParquetFile(file, metadata=metadata, pre_buffer=False)
