"""The visit event: one action on one visit, as external systems log it."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from contracts.records.columns import ColumnType

INT32_MAX = 2**31 - 1
"""The checkpoint stores pipeline_adcid as a 32-bit integer; a larger number cannot be kept exactly."""

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ISO_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*", re.ASCII)


def _only_iso_date(value: Any) -> Any:
    """Pydantic alone would also take Unix numbers and midnight timestamps for a date."""
    if type(value) is date or (isinstance(value, str) and _ISO_DATE.fullmatch(value)):
        return value
    raise ValueError("must be an ISO 8601 date, YYYY-MM-DD")


def _only_iso_timestamp(value: Any) -> Any:
    """Pydantic alone would also take Unix numbers and bare dates for a moment."""
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO_TIMESTAMP.fullmatch(value)):
        return value
    raise ValueError("must be an ISO 8601 timestamp, YYYY-MM-DDThh:mm:ss with an optional zone")


def _no_boolean(value: Any) -> Any:
    """In Python True is an integer; in an event it is a mistake."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not a boolean")  # noqa: TRY004 - Pydantic turns ValueError into a finding
    return value


def _as_utc(moment: datetime) -> datetime:
    """Read a naive timestamp as UTC and bring every other one to UTC; precision is microseconds."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:  # an offset can push a date at the calendar's edge over it
        raise ValueError("timestamp lies outside the years 1 to 9999 once brought to UTC") from error


COLUMNS: Mapping[str, ColumnType] = MappingProxyType(
    {
        "action": "string",
        "study": "string",
        "pipeline_adcid": "int32",
        "project_label": "string",
        "center_label": "string",
        "gear_name": "string",
        "ptid": "string",
        "visit_date": "date",
        "visit_number": "string",
        "datatype": "string",
        "module": "string",
        "packet": "string",
        "timestamp": "timestamp_us_utc",
    }
)
"""Columns of the checkpoint, in order. A timestamp is UTC with microsecond precision."""

Label = Annotated[str, Field(min_length=1)]
IsoDate = Annotated[date, BeforeValidator(_only_iso_date)]
UtcTimestamp = Annotated[datetime, BeforeValidator(_only_iso_timestamp), AfterValidator(_as_utc)]


class VisitEvent(BaseModel):
    """One visit event (source: the event-log files that centres upload; one file, one event).

    ``timestamp`` is UTC with microsecond precision; a value without a zone means UTC. ``pipeline_adcid``
    accepts a numeric string. Unknown fields are ignored: producers may add them at any time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Literal["submit", "pass-qc", "not-pass-qc", "delete"]
    study: Label = "adrc"
    pipeline_adcid: Annotated[int, Field(gt=0, le=INT32_MAX), BeforeValidator(_no_boolean)]
    project_label: Label
    center_label: Label
    gear_name: Label
    ptid: Annotated[str, Field(pattern=r"^[A-Z0-9]+$", max_length=10)]
    visit_date: IsoDate
    visit_number: Label
    datatype: Label
    module: str | None = None
    packet: str | None = None
    timestamp: UtcTimestamp
