"""What runs now: each process of the stack with state, memory and uptime."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from services.console.local.processes import ProcessRecord
from services.console.local.state import DataDir


@dataclass(frozen=True)
class ProcessStatus:
    """One process of the stack."""

    name: str
    pid: int
    state: str
    memory_bytes: int
    uptime_s: float
    restarts: int
    log: str


@dataclass(frozen=True)
class StackStatus:
    """The stack now."""

    state: str
    """running, starting, stopping, stopped, or crashed (its supervisor was killed)."""
    data_dir: str
    endpoint: str | None
    socrata: str | None
    """Where the sample Socrata server answers."""
    payments_api: str | None
    """Where the sample shop's API answers."""
    database: str | None
    """How the services connect to the sample shop's database, without the password."""
    home_care: str | None
    """The same of the conflict report's database."""
    stack: str | None
    failure: str | None
    recovery_pending: bool
    processes: list[ProcessStatus]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return asdict(self)


def status(home: DataDir) -> StackStatus:
    """Every process with its state, resident memory and uptime."""
    state = home.load() if home.is_ours else None
    if state is None:
        return StackStatus("stopped", str(home.path), *(None,) * 7, recovery_pending=False, processes=[])
    supervised = state.supervisor.alive
    condition: str = state.phase if supervised or state.phase == "stopped" else "crashed"
    records = [] if condition == "stopped" else [state.supervisor, *state.processes]
    return StackStatus(
        state=condition,
        data_dir=str(home.path),
        endpoint=state.endpoint,
        socrata=state.socrata,
        payments_api=state.payments_api,
        database=state.database,
        home_care=state.home_care,
        stack=state.stack,
        failure=state.failure,
        recovery_pending=home.recovery_pending,
        processes=[_look_at(record, supervised=supervised) for record in records],
    )


def _look_at(record: ProcessRecord, *, supervised: bool) -> ProcessStatus:
    process = record.process()
    if process is None:
        state = "restarting" if supervised else "dead"
        return ProcessStatus(record.name, record.pid, state, 0, 0.0, record.restarts, record.log)
    with process.oneshot():
        memory = int(process.memory_info().rss)
    uptime = max(0.0, time.time() - record.started)
    state = "running" if supervised else "orphaned"
    return ProcessStatus(record.name, record.pid, state, memory, uptime, record.restarts, record.log)
