"""The checkpoint's columns, written down a second time on purpose: readers depend on every one of them."""

import polars as pl
import pyarrow as pa

from contracts.records import COLUMNS, RECORDS
from services.merger.adapters.tables import schema_of as arrow_schema
from services.validator.core.columns import schema_of as polars_schema

VISIT_EVENT = {
    "action": pl.String(),
    "study": pl.String(),
    "pipeline_adcid": pl.Int32(),
    "project_label": pl.String(),
    "center_label": pl.String(),
    "gear_name": pl.String(),
    "ptid": pl.String(),
    "visit_date": pl.Date(),
    "visit_number": pl.String(),
    "datatype": pl.String(),
    "module": pl.String(),
    "packet": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
}


def test_a_visit_event_has_exactly_these_columns() -> None:
    """Names, order and types are those of the specification, in the validator and in the merger."""
    assert list(polars_schema(COLUMNS["visit_event"]).items()) == list(VISIT_EVENT.items())
    table = arrow_schema(COLUMNS["visit_event"]).empty_table()
    assert list(pl.DataFrame(pl.from_arrow(table)).schema.items()) == list(VISIT_EVENT.items())
    assert arrow_schema(COLUMNS["visit_event"]).field("timestamp").type == pa.timestamp("us", tz="UTC")


def test_every_record_has_a_column_for_each_of_its_fields() -> None:
    """A field without a column would be validated and then lost."""
    assert {name: list(columns) for name, columns in COLUMNS.items()} == {
        name: list(model.model_fields) for name, model in RECORDS.items()
    }
