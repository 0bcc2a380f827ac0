"""Opening a run: once, whoever comes first."""

from services.planner.ports import Ports
from services.runtime.ledger import Run


async def opened(ports: Ports, run: Run) -> Run:
    """The run as it is in the ledger, opened if it was not."""
    if await ports.ledger.open_run(run):
        return run
    return await ports.ledger.run(run.run_id) or run
