"""Fetching: the slices of a source that fetchers read, and the raw objects they make of them."""

from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from contracts.envelope import Contract, Payload


class KeyRange(Contract):
    """Rows of a source between two values of its cursor, both literal; inside one instant also between two keys.

    Exactly one upper end is set: ``before`` is exclusive, ``to`` is inclusive. ``after_key`` (exclusive) and
    ``to_key`` (inclusive) cut a single instant, where ``start`` equals ``to``; the source compares them as text.
    """

    start: str = Field(description="cursor, inclusive")
    before: str | None = None
    to: str | None = None
    after_key: str | None = None
    to_key: str | None = None

    @model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if (self.before is None) == (self.to is None):
            raise ValueError("exactly one of before and to ends a range")
        if (self.after_key is not None or self.to_key is not None) and self.to != self.start:
            raise ValueError("keys cut a single instant only: to must equal start")
        return self


class FetchSegment(Payload):
    """Command to the fetcher: read this range of the pipeline's source into one raw object."""

    pipeline: str
    run_id: str
    segment_id: str
    run_date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="day of the run; part of the object's key")
    range: KeyRange
    expected_rows: NonNegativeInt = Field(description="rows when the run was planned; there may be more or fewer now")

    def dedup_id(self) -> str:
        """One raw object per segment."""
        return f"{self.run_id}/{self.segment_id}"


class ValidateFetched(Payload):
    """Command to the validator: judge the rows of this raw object, though its event may be lost, or once more."""

    pipeline: str
    run_id: str
    segment_id: str
    bucket: str
    key: str
    replay: bool = False

    def dedup_id(self) -> str:
        """One validation per segment."""
        return f"{self.run_id}/{self.segment_id}"
