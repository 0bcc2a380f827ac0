"""Worker processes that begin where importing has ended, which takes most of the processor time of a worker's start.

One process has imported what most of them need and waits; asked for a worker it forks, and the child becomes what
``python -m services.{service}.worker`` is, with its own environment, log and end. What starts threads when it is
imported (polars, pyarrow) is left to the children: a thread does not go along, and its library would wait for it.
Starts of real interpreters are tested where starting is the point: with the supervisor and with what is deployed.
"""

import asyncio
import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

WITHOUT_THREADS = ("planner", "chunk_worker")
THREADS = Path("/proc/self/task")
ENDPOINT = "http://127.0.0.1:9"
"""Nothing is sent there."""


def import_most() -> None:
    """Import what these services import, the others for the greater part, and read what any client reads."""
    for service in WITHOUT_THREADS:
        importlib.import_module(f"services.{service}.bootstrap")
    from services.runtime.aws.clients import Clients  # noqa: PLC0415 - this process has it now, its parent need not

    async def open_once() -> None:
        async with Clients():
            pass

    os.environ |= {
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    asyncio.run(open_once())
    assert not THREADS.is_dir() or len(list(THREADS.iterdir())) == 1, "something imported here has started a thread"


def wait_for_orders() -> str | None:
    """Fork for each order; in the child, the module that it is to run. None when there are no more orders."""
    signal.signal(signal.SIGCHLD, _report_ends)
    for line in sys.stdin:
        order = json.loads(line)
        # No end is told before its begin.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _become(order["environ"], Path(order["log"]))
            return str(order["module"])
        _tell({"begun": child})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    return None


def _become(environ: Mapping[str, str], log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for mine, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(mine, place)
    os.close(nothing)
    os.close(output)
    sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - the old one has read ahead of its orders
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environ)


def _report_ends(_signal: int, _frame: object) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        _tell({"ended": child, "code": os.waitstatus_to_exitcode(status)})


def _tell(what: Mapping[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    import_most()
    module = wait_for_orders()
    if module is not None:
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
