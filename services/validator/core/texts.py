"""Bytes of documents as strings of a column."""

from collections.abc import Sequence

import polars as pl


def texts_of(documents: Sequence[bytes]) -> pl.Series:
    """Documents as strings; null for what is not UTF-8."""
    try:
        return pl.Series(documents, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:  # a cast is all or nothing: one bad document spoils the block
        return pl.Series([_text(document) for document in documents], dtype=pl.String)


def _text(document: bytes) -> str | None:
    try:
        return document.decode()
    except UnicodeDecodeError:
        return None
