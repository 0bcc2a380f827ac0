"""What bronze has already: keys and hashes of the parts that can hold rows of a load, and nothing else of them."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.fields import EntityField
from contracts.loads import LoadPart
from services.merger.adapters.spans import USUAL, Pinned, Spans, read_end
from services.merger.adapters.types import RECORD_HASH, cursor_scalar, schema_of
from services.merger.core.duplicates import Identities, joined
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectStore

READING = USUAL


async def known_rows(
    objects: ObjectStore, bucket: str, part: LoadPart, key: Sequence[EntityField], cursor: EntityField, least: str
) -> Identities | None:
    """Identities of a part's rows at and after a cursor; None where it has none.

    Raises:
        ConflictError: it changed while it was read.
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
    end = await read_end(objects, bucket, part.key, part.size, READING)
    if len(end.body) == end.info.size:
        return pq.ParquetFile(io.BytesIO(end.body))
    metadata = pq.read_metadata(io.BytesIO(end.body))
    file, version = Spans(end.info.size), Pinned(objects, bucket, end.info)
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema in names:
                start = column.dictionary_page_offset or column.data_page_offset
                file.add(start, await version.read(start, start + column.total_compressed_size))
    return pq.ParquetFile(file, metadata=metadata, pre_buffer=False)
