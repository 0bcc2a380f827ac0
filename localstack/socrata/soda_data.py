"""Data as the control plane and the command line hand them in."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from soda_errors import bad_request
from soda_rows import Row, declared_types, rows_in, rows_of, seen_types
from soda_samples import sample
from soda_store import Dataset

DEFAULT_KEY = "unique_key"


class Data(BaseModel):
    """Rows: given, in a file on the server's machine (NDJSON, gzip by its name), or generated."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Any] | None = None
    path: Path | None = None
    generate: dict[str, Any] | None = Field(default=None, description="see soda_samples")
    columns: dict[str, str] = Field(default_factory=dict, description="types; of other columns the values show them")
    key: str | None = Field(default=None, description="tells rows apart; default: unique_key where there is one")

    def load(self) -> tuple[dict[str, str], list[Row]]:
        """The declared columns and the rows.

        Raises:
            SodaError: 400, not exactly one source, or a row that is none.
        """
        given = [name for name in ("rows", "path", "generate") if getattr(self, name) is not None]
        if len(given) > 1:
            raise bad_request(f"only one of {', '.join(given)} can be given")
        columns = declared_types(self.columns)
        if self.generate is not None:
            types, rows = sample(self.generate)
            return {**types, **columns}, rows
        if self.path is not None:
            return columns, rows_in(self.path)
        return columns, rows_of(self.rows or [])


def create_dataset(name: str, data: Data) -> Dataset:
    """A dataset with its first rows.

    Raises:
        SodaError: 400, the data cannot be read.
    """
    columns, rows = data.load()
    types = {**seen_types(rows), **columns}
    key = data.key or (DEFAULT_KEY if DEFAULT_KEY in types else None)
    dataset = Dataset(name, types, key)
    dataset.publish(rows)
    return dataset
