"""The sample Socrata server beside the emulator: generated service requests that grow with the real time.

Which rows it has depends on its data directory alone: their first day is decided at the first start, and a later start
serves the same rows and newer ones, so that nothing which was collected once is different the next time.
"""

import http.client
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from services.console.local.emulator import HOST, last_line
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.settings import PROJECT

SOCRATA = "socrata"
"""Name of the process."""

SERVER = PROJECT / "localstack" / "socrata" / "server.py"
DATASET = "erm2-nwe9"
"""What pipelines/nyc_311.toml reads."""

HISTORY = timedelta(days=35)
"""Before the first start."""
AHEAD = timedelta(days=7)
"""After each start: a stack that stays up gets new rows for so long."""
ROWS_PER_DAY = 300
READY_DEADLINE_S = 30.0
_POLL_S = 0.05


def first_day(folder: Path, today: date) -> date:
    """The day of the data's first row, decided once for a data directory."""
    path = folder / "socrata-first-day"
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.write_text((today - HISTORY).isoformat(), encoding="ascii")
        draft.replace(path)
    return date.fromisoformat(path.read_text(encoding="ascii"))


def command(folder: Path, port: int, now: datetime) -> Sequence[str]:
    """How the server of a data directory is started; ``now`` is local time."""
    first = first_day(folder, now.date())
    days = (now.date() + AHEAD - first).days
    sample = {"count": days * ROWS_PER_DAY, "start": f"{first}T00:00:00", "rows_per_day": ROWS_PER_DAY}
    return (
        *(sys.executable, str(SERVER), "--host", HOST, "--port", str(port), "--clock", "system"),
        *("--dataset", DATASET, json.dumps({"generate": sample})),
    )


def wait_ready(port: int, log: Path, lives: Callable[[], bool], deadline_s: float = READY_DEADLINE_S) -> None:
    """Wait until it answers.

    Raises:
        PermanentError: it has ended; the text ends with its last log line.
        TemporaryError: it does not answer within ``deadline_s`` seconds.
    """
    deadline = time.monotonic() + deadline_s
    while not _answers(port):
        if not lives():
            raise PermanentError(f"the sample Socrata server did not start: {last_line(log)}")
        if time.monotonic() > deadline:
            raise TemporaryError(f"the sample Socrata server did not answer within {deadline_s:.0f} s; see {log}")
        time.sleep(_POLL_S)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/_control/stats")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
