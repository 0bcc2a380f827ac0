"""Runs the emulator and the workers of one data directory until it is told to stop."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from services.console.local.emulator import STOP_GRACE_S, Emulator, last_line, log_path, mark_clean
from services.console.local.environment import pointed_at, with_absolute_paths, without_aws
from services.console.local.processes import EMULATOR, ProcessRecord, tagged, tags, terminate
from services.console.local.provision import load_topology, provision
from services.console.local.samples import SAMPLES, Samples
from services.console.local.state import AlreadyRunningError, DataDir, Phase, ShopPorts, StackState, exports
from services.console.local.venv import Progress, ensure_installed
from services.console.local.worker import WORKERS, Worker
from services.runtime.aws.clients import Clients
from services.runtime.failures import PermanentError, TidegateError

WORKER_GRACE_S = 40.0
"""Longer than a worker's own grace (TIDEGATE_GRACE_S), so that it may finish what it handles."""

_WORKER_DEFAULTS = {
    "PYTHONUNBUFFERED": "1",
    # On one machine an idle worker should be small: allocators give memory back instead of keeping it per thread.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "POLARS_MAX_THREADS": "1",
    "TIDEGATE_POLL_S": "2",  # a worker ends after its poll: nobody should wait 20 s for `down` on one machine
}

ALREADY_RUNNING = 3
"""Exit code of a detached supervisor that found another one at work."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCH_S = 0.2


class Options(BaseModel):
    """What a supervisor is started with; travels as JSON to a detached one."""

    model_config = ConfigDict(frozen=True)

    data_dir: Path
    port: int
    socrata_port: int | None = None
    """Of the sample Socrata server; None: none is started."""
    shop_ports: ShopPorts | None = None
    """Of the sample shop; None: none is started."""
    stack: str = "tidegate"
    detached: bool = False
    workers: Mapping[str, Sequence[str]] = WORKERS


class Supervisor:
    """Start in order, watch, stop in reverse order."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._home = DataDir(options.data_dir)
        self._stop = threading.Event()
        self._emulator: Emulator | None = None
        self._emulator_record: ProcessRecord | None = None
        self._workers: list[Worker] = []
        self._samples = Samples(self._home, options.socrata_port, options.shop_ports)
        self.state = StackState(
            phase="starting",
            stack=options.stack,
            port=options.port,
            socrata_port=options.socrata_port,
            shop_ports=options.shop_ports,
            detached=options.detached,
            started_at=datetime.now(UTC),
            supervisor=ProcessRecord.of("supervisor", os.getpid(), log=self._home.log("supervisor")),
        )

    def run(self, on_ready: Callable[[StackState], None] = lambda _: None) -> None:
        """Own the data directory, run the stack until SIGINT, SIGTERM or SIGHUP, and stop everything.

        Raises:
            AlreadyRunningError: another supervisor runs on this data directory.
            TidegateError: something could not be started, or the emulator ended by itself.
        """
        with self._home.owned(), self._signals_taken():
            clean_up(self._home, self._progress)
            failure: str | None = None
            try:
                self._start()
                if not self._stop.is_set():
                    on_ready(self.state)
                self._watch()
            except BaseException as error:
                failure = str(error) if isinstance(error, TidegateError) else repr(error)
                raise
            finally:
                self._shut_down(failure)

    def _start(self) -> None:
        self._write("starting")
        python = ensure_installed(self._progress)
        environ = _WORKER_DEFAULTS | without_aws(with_absolute_paths(os.environ)) | exports(self.state)
        self._samples.start(self._start_worker, environ, python)
        self._emulator = Emulator.start(self._home.path, self._options.port, python=python)
        self._emulator_record = ProcessRecord.of(EMULATOR, self._emulator.process.pid, log=log_path(self._home.path))
        if self._emulator.recovered:
            self._home.request_recovery()
            self._progress("the emulator was killed: objects survived, tables and queues start empty")
        self._write("starting")
        with pointed_at(exports(self.state)):
            asyncio.run(self._provision())
        self._samples.wait(self._stop.is_set)
        for name, arguments in self._options.workers.items():
            if self._stop.is_set():
                return
            self._start_worker(name, arguments, environ)
        self._write("running")

    def _start_worker(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Worker:
        worker = Worker(name, arguments, {**environ, **tags(self._home.path, name)}, self._home.log(name))
        worker.start()
        self._workers.append(worker)
        self._write("starting")
        return worker

    async def _provision(self) -> None:
        async with Clients() as clients:
            await provision(clients, self.state.stack, load_topology(), progress=lambda _: None)
            await self._samples.publish(clients)

    def _watch(self) -> None:
        while not self._stop.wait(_WATCH_S):
            if self._emulator is None or self._emulator.process.poll() is not None:
                line = last_line(log_path(self._home.path))
                raise PermanentError(f"the AWS emulator ended unexpectedly ({line}); `tidegate local up` recovers")
            changes = [worker.watch(time.monotonic()) for worker in self._workers]
            for change in filter(None, changes):
                self._progress(change)
            if any(changes):
                self._write("running")

    def _shut_down(self, failure: str | None) -> None:
        self._write("stopping")
        self._samples.abandon()
        # Services finish what they handle; until then their sources must be there.
        self._end([worker for worker in self._workers if worker.name not in SAMPLES], WORKER_GRACE_S)
        self._end([worker for worker in self._workers if worker.name in SAMPLES], STOP_GRACE_S)
        if self._emulator is not None:
            self._emulator.stop()
        self._home.save(self.state.model_copy(update={"phase": "stopped", "processes": [], "failure": failure}))

    def _end(self, workers: Sequence[Worker], grace_s: float) -> None:
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + grace_s
        for worker in workers:
            if not worker.stop(deadline):
                self._progress(f"{worker.name}: did not stop within {grace_s:.0f} s and was killed")

    def _write(self, phase: Phase) -> None:
        records = [worker.record for worker in self._workers if worker.record]
        if self._emulator_record:
            records.insert(0, self._emulator_record)
        self.state = self.state.model_copy(update={"phase": phase, "processes": records})
        self._home.save(self.state)

    @contextmanager
    def _signals_taken(self) -> Iterator[None]:
        before = {number: signal.signal(number, lambda *_: self._stop.set()) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def clean_up(home: DataDir, progress: Progress) -> None:
    """Stop what a killed supervisor left behind; call it only while owning the directory.

    Processes are taken from the state file (pid and start time) and from the tag in their environment, which also
    finds one that was started right before the kill. An emulator that still ends on SIGTERM has lost nothing.
    """
    state = home.load()
    found = {record.pid: record for record in [*(state.processes if state else []), *tagged(home.path)]}
    leftovers = [r for r in found.values() if r.alive and r.pid != os.getpid()]
    if not leftovers:
        return
    progress(f"stopping what an earlier stack left: {', '.join(sorted(r.name for r in leftovers))}")
    terminate((r for r in leftovers if r.name not in {EMULATOR, *SAMPLES}), WORKER_GRACE_S)
    terminate((r for r in leftovers if r.name in SAMPLES), STOP_GRACE_S)
    emulators = [r for r in leftovers if r.name == EMULATOR]
    if emulators and not terminate(emulators, STOP_GRACE_S):
        mark_clean(home.path)


def main(arguments: Sequence[str]) -> int:
    """Run detached, with options as JSON; progress and the final error go to standard error."""

    def log(line: str) -> None:
        sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")

    options = Options.model_validate_json(arguments[0])
    try:
        Supervisor(options, log).run()
    except AlreadyRunningError:
        return ALREADY_RUNNING
    except TidegateError as error:
        log(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
