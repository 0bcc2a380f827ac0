"""Record schemas: what one row of a pipeline must look like."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel

from contracts.records import visit_event
from contracts.records.columns import ColumnType
from contracts.records.visit_event import VisitEvent

RECORDS: Mapping[str, type[BaseModel]] = MappingProxyType({"visit_event": VisitEvent})
"""Every record schema a pipeline declaration may name."""

COLUMNS: Mapping[str, Mapping[str, ColumnType]] = MappingProxyType({"visit_event": visit_event.COLUMNS})
"""The output columns of each record schema, in order."""

__all__ = ["COLUMNS", "RECORDS", "ColumnType", "VisitEvent"]
