"""What the fetcher does: a batch of commands, each for a range of a dataset or a slice of an entity."""

from services.fetcher.use_case.batch import fetch_batch

__all__ = ["fetch_batch"]
