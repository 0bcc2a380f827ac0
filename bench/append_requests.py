"""Service requests of one month as tables, for the merge benchmarks; a million of them take 27 days."""

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from bench import PROJECT
from bench.nyc_311.rows import Requests
from services.merger.adapters.tables import schema_of
from services.runtime.declarations import load_pipelines

_SCHEMA = schema_of(load_pipelines(PROJECT / "pipelines")["nyc_311"].output_columns)
_FIRST = datetime(2026, 1, 1)  # noqa: DTZ001 - the source's timestamps have no zone
_STEP = timedelta(days=27) / 1_000_000
_DAY = timedelta(days=1)
_SOURCE = Requests()


def requests(first: int, number: int, late: float) -> pa.Table:
    """So many from a number on, of which a share is a day late. Their keys are in no order."""
    return _table(first, number, late, [40_000_000 + n * 7_368_787 % 20_000_003 for n in range(first, first + number)])


def growing_requests(first: int, number: int, late: float) -> pa.Table:
    """The same with keys that grow with time."""
    return _table(first, number, late, range(40_000_000 + first, 40_000_000 + first + number))


def _table(first: int, number: int, late: float, keys: "range | list[int]") -> pa.Table:
    moments = [_FIRST + n * _STEP - _DAY * (n * 7919 % 1000 / 1000 < late) for n in range(first, first + number)]
    rows = [_SOURCE.row(moment) for moment in moments]
    texts = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in _SCHEMA.names[:-1]})
    point = [pc.cast(texts.column(name), pa.float64()).combine_chunks() for name in ("latitude", "longitude")]
    places = pa.StructArray.from_arrays(point, fields=list(_SCHEMA.field("location").type))
    table = texts.append_column("location", places).cast(_SCHEMA)
    return table.set_column(0, _SCHEMA.field(0), pc.cast(pa.array(keys), pa.string()))
