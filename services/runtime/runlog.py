"""The log of a group's run, as an object that people and Athena read: one line a step, ``[time] text``.

It is made from the ledger alone, so whoever ends the run writes the same lines.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from contracts.runs import RunState
from services.runtime.ledger import Run


def log_of(parent: Run, children: Sequence[Run], records: Mapping[str, int]) -> str:
    """The lines of a run whose entities have all ended, in order of time; times are UTC, to the second."""
    lines = [(parent.started_at, f"Starting: Ingestion run {parent.run_id} ({parent.mode})")]
    for child in children:
        name = child.pipeline.rpartition(".")[2]
        ended = child.finished_at or child.started_at
        lines.append((child.started_at, f"Starting: Processing {name}"))
        if child.state is RunState.SUCCEEDED:
            lines.append((ended, f"Processing {name}: Extracted {records[child.run_id]} records"))
            lines.append((ended, f"Completed: Processing {name}"))
        else:
            lines.append((ended, f"Failed: Processing {name}: {child.reason}"))
    lines.sort(key=lambda line: datetime.fromisoformat(line[0]))
    last = lines[-1][0]
    failed = sum(child.state is RunState.FAILED for child in children)
    outcome = "Completed" if not failed else "Failed"
    told = f"{len(children) - failed} of {len(children)} entities, {sum(records.values())} records"
    lines.append((last, f"{outcome}: Ingestion run {parent.run_id}: {told}"))
    return "".join(f"[{_time(at)}] {' '.join(text.split())}\n" for at, text in lines)


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
