"""What the validator reports of every segment, whatever it was made from."""

from collections.abc import Iterable

from contracts.segments import SegmentCounts
from services.validator.ports import Ports


def count(ports: Ports, pipeline: str, counts: Iterable[SegmentCounts]) -> None:
    """Record the rows of what one delivery became, part by part; left out is what filters or patterns do not want."""
    parts, metric = list(counts), ports.telemetry.metric
    bad = sum(part.quarantined for part in parts)
    metric("RowsIn", sum(part.received for part in parts), pipeline=pipeline)
    metric("RowsOut", sum(part.rows for part in parts), pipeline=pipeline)
    metric("RowsQuarantined", bad, pipeline=pipeline)
    metric("EventsFailed", bad, pipeline=pipeline)
    metric("RowsLeftOut", sum(part.filtered + part.ignored for part in parts), pipeline=pipeline)
    metric("Duplicates", sum(part.duplicates for part in parts), pipeline=pipeline)
