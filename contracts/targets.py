"""Where a pipeline's rows go."""

from string import Formatter
from typing import Literal

from pydantic import Field, PositiveInt

from contracts.envelope import Contract

RUN_DATE = "run_date"
"""Field of a target's key: the day of the run, YYYY-MM-DD."""


class _Target(Contract):
    """What targets with a key of their own have."""

    bucket: str | None = None
    key: str
    order_by: str = Field(description="column each object is sorted by")

    @property
    def fields(self) -> list[str]:
        """The fields that the key template uses, in order."""
        return [name for _, name, _, _ in Formatter().parse(self.key) if name is not None]


class CheckpointTarget(_Target):
    """One sorted Parquet object per checkpoint key."""

    kind: Literal["checkpoint"]
    bucket: str | None = Field(default=None, description="default: the stack's checkpoints bucket")
    key: str = Field(description="may use the record's fields: checkpoints/{study}/{datatype}/events.parquet")


class PartitionTarget(_Target):
    """A tree of Parquet objects, by the rows' own columns and the day of the run; each unique key is in it once."""

    kind: Literal["partitions"]
    bucket: str | None = Field(default=None, description="default: the stack's processed bucket")
    key: str = Field(description="processed/year={created_date:%Y}/data_{run_date}.parquet; columns may have formats")
    state_mirror: str | None = Field(
        default=None, description="key of a JSON object that shows the watermark to people; deleting it starts over"
    )

    @property
    def prefix(self) -> str:
        """What every object's key begins with: the template up to its first field."""
        return self.key.split("{", 1)[0]


class BronzeTarget(Contract):
    """Every version of every record, as landed: ``{prefix}{entity}/ingestion_date=…/load_type=…/event_date=…/``."""

    kind: Literal["bronze"]
    bucket: str | None = Field(default=None, description="default: the stack's processed bucket")
    prefix: str = "data/bronze/"
    logs: str = Field(default="logs/pipeline/ingestion/", description="of checkpoints.json and the log of each run")
    part_bytes: PositiveInt = Field(default=128 * 1024 * 1024, description="bytes a part aims at")

    @property
    def key(self) -> str:
        """What the key of every part begins with, before the entity."""
        return self.prefix

    @property
    def fields(self) -> list[str]:
        """A part's key has no fields of its rows besides the event date."""
        return []

    @property
    def order_by(self) -> str:
        """Parts are not sorted by any one column."""
        return ""
