"""Runs one service's Lambda handler: an event a line on standard input, what it took a line on standard output.

Linux only: how long a thread waited for a processor stands in /proc.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

_NANO = 1e-9


class Spent(NamedTuple):
    """Seconds since the process began: on the clock, of processors, and in line for one."""

    wall: float
    cpu: float
    queued: float


def spent() -> Spent:
    """What the threads of this process have spent; of those that ended, the time in line is not known any more."""
    queued = [int(path.read_text(encoding="ascii").split()[1]) for path in Path("/proc/self/task").glob("*/schedstat")]
    return Spent(time.perf_counter(), time.process_time(), sum(queued) * _NANO)


async def _nothing(_: object) -> None:
    """Use an opened use case for nothing."""


def main(service: str) -> None:
    """Answer events until there are no more; a handler that raises ends the process, with its traceback."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        sys.stdout = sys.stderr  # where its metrics go
        handler = import_module(f"services.{service}.handler").handler
        handler.run(_nothing, None)
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            event = json.loads(line)
            before = spent()
            answer = handler(event, None)
            took = (after - since for after, since in zip(spent(), before, strict=True))
            print(json.dumps({"answer": answer, "took": list(took)}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
