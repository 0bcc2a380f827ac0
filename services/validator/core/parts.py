"""Rows that were certified part by part, put back in the order of their documents."""

from collections.abc import Sequence

import polars as pl


def in_order(parts: Sequence[tuple[pl.DataFrame, pl.Series]], schema: pl.Schema) -> tuple[pl.DataFrame, pl.Series]:
    """Parts as (rows, positions in the input): all rows with all positions, ascending."""
    parts = [part for part in parts if len(part[1])]
    if not parts:
        return schema.to_frame(), pl.Series(dtype=pl.UInt32)
    if len(parts) == 1:
        return parts[0]
    frame = pl.concat([part[0] for part in parts])
    indexes = pl.concat([part[1] for part in parts])
    order = indexes.arg_sort()
    return frame[order], indexes.gather(order)
