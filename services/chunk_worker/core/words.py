"""What log lines say of a chunk: sizes and times, never the values of keys."""

from collections.abc import Mapping

from contracts.chunk_jobs import KeyColumn
from contracts.chunks import ChunkKeys


def size_in_words(chunk_id: str, rows: int, keys: ChunkKeys | None, columns: Mapping[str, KeyColumn]) -> str:
    """Estimated rows, and how many different values each key column has, by the name the job has for several."""
    if keys is None:
        return f"Chunk {chunk_id}: {rows} estimated rows, all keys"
    distinct = [
        f"{len(set(values))} {columns[name].plural or name}"
        for name, values in zip(keys.columns, keys.values, strict=True)
        if name in columns
    ]
    return ", ".join([f"Chunk {chunk_id}: {rows} estimated rows", *distinct])


def marked_in_words(chunk_id: str, rows: int) -> str:
    """Rows that people see as locked now."""
    return f"Chunk {chunk_id}: Marked {rows} rows for processing"


def updated_in_words(chunk_id: str, rows: int, seconds: float) -> str:
    """Rows that were updated, and how long that took."""
    return f"Chunk {chunk_id}: Updated {rows} rows in {seconds:.2f} seconds"


def rate_in_words(chunk_id: str, rows: int, seconds: float) -> str:
    """Rows per second."""
    rate = f"{rows / seconds:.1f} rows/sec" if seconds > 0 else "too fast to tell"
    return f"Chunk {chunk_id}: Throughput: {rate}"
