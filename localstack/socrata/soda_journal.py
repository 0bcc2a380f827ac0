"""What was asked and what answering took."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 20_000
"""Requests that the log remembers."""


@dataclass(slots=True)
class Entry:
    """One request as received, and its answer."""

    at_s: float
    """Since the server's start."""
    dataset: str
    params: Mapping[str, Any]
    """Query parameters; one that is given more than once has a list."""
    token: str | None
    token_in: str | None
    """``header``, ``query`` or None."""
    status: int = 0
    rows: int = 0
    bytes: int = 0
    busy_s: float = 0.0
    """Seconds spent on parsing, searching and writing the body; waiting that was asked for is not in it."""
    fault: int | None = None
    """Place of the fault rule that struck."""


class Journal:
    """The log and its sums."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._log: deque[Entry] = deque(maxlen=KEPT)
        self._statuses: Counter[int] = Counter()
        self._datasets: Counter[str] = Counter()
        self._busy_s = self._longest_s = 0.0
        self._rows = self._bytes = 0
        self._cpu_before = time.process_time()

    def begin(self, dataset: str, params: Mapping[str, Any], token: str | None, token_in: str | None) -> Entry:
        """Write a request down, before it is answered."""
        entry = Entry(time.monotonic() - self._started, dataset, params, token, token_in)
        self._log.append(entry)
        return entry

    def end(self, entry: Entry) -> None:
        """Add up what an answered request took."""
        self._statuses[entry.status] += 1
        self._datasets[entry.dataset] += 1
        self._busy_s += entry.busy_s
        self._longest_s = max(self._longest_s, entry.busy_s)
        self._rows += entry.rows
        self._bytes += entry.bytes

    def log(self) -> list[dict[str, Any]]:
        """Every request since the log was cleared, oldest first; ``status`` 0: it is being answered."""
        return [asdict(entry) for entry in self._log]

    def stats(self) -> dict[str, Any]:
        """Sums since the last clearing; ``cpu_s`` is all of the process, loading data included."""
        return {
            "requests": sum(self._statuses.values()),
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "datasets": dict(self._datasets),
            "rows": self._rows,
            "bytes": self._bytes,
            "busy_s": self._busy_s,
            "longest_s": self._longest_s,
            "cpu_s": time.process_time() - self._cpu_before,
        }
