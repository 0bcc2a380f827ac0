"""Visit events: ours next to the seed's straightforward design, on the same stub, alternately.

    python -m bench.visit_events.bench --scenario full --rounds 3

* ``full``: no checkpoint yet; every file is new.
* ``increment``: the candidate's own full scan (not measured, without latency) has made the checkpoint, then new
  files arrive. The seed's design reads all files again to find them.

Every run has a stub of its own, in the same state; every checkpoint must hold the same rows, sorted. A candidate may
keep what it likes in the folder given as ``--state`` between its full scan and its increment.
"""

import argparse
import asyncio
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from bench.harness import Candidate, Measurement, measure, run
from bench.stub_process import StubProcess
from bench.visit_events.files import PREFIX
from bench.visit_events.on_emulator import STACK, figure
from bench.visit_events.seed import SCHEMA
from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients

CHECKPOINT_KEY = "checkpoints/events.parquet"
MODULES = {
    "ours": "bench.visit_events.ours",
    "seed, 50 threads": "bench.visit_events.peer_threads",
    "seed, sequential": "bench.visit_events.peer_sequential",
}
LIBRARIES = ("aiobotocore", "aiohttp", "boto3", "polars", "pyarrow", "pydantic")


class WrongResultError(Exception):
    """A candidate's checkpoint is not what the files say."""


class Arena:
    """Gives each run a stub in the same state, and compares what the runs leave behind."""

    def __init__(self, options: argparse.Namespace, resources: ExitStack) -> None:
        self._options = options
        self._resources = resources
        self._stub: StubProcess
        self._before: Mapping[str, Any] = {}
        self._expected: pl.DataFrame | None = None

    def prepare(self, candidate: Candidate, _: int) -> Sequence[str]:
        """Start a stub and, for an increment, let the candidate make its checkpoint first."""
        options = self._options
        increment = options.scenario == "increment"
        self._stub = StubProcess(files=options.files, latency_ms=0 if increment else options.latency_ms)
        self._resources.callback(self._stub.stop)
        os.environ.update(self._stub.environ())
        state = tempfile.mkdtemp(prefix="bench-state-")
        self._resources.callback(shutil.rmtree, state)
        if candidate.name == "ours":
            self._give_tables(Path(state))
        extra = ("--endpoint", self._stub.url, "--bucket", self._stub.bucket, "--prefix", PREFIX,
                 "--checkpoint-key", CHECKPOINT_KEY, "--state", state)  # fmt: skip
        if increment:
            measure(candidate, 0, extra)
            self._stub.generate(options.files, options.new)
            self._stub.set_latency(options.latency_ms)
        self._before = self._stub.stats()
        return extra

    def _give_tables(self, folder: Path) -> None:
        """Ours keeps its ledger and index in DynamoDB: an emulator of its own, provisioned, for each run."""
        emulator = Emulator.start(folder / "emulator")
        self._resources.callback(emulator.stop)
        os.environ.update({"AWS_ENDPOINT_URL": emulator.endpoint, "TIDEGATE_STACK": STACK})
        asyncio.run(_provision())

    def check(self, candidate: Candidate, measurement: Measurement) -> Mapping[str, Any]:
        """Compare the checkpoint with the first one seen; report what the stub served.

        Raises:
            WrongResultError: counts or rows differ.
        """
        options, after = self._options, self._stub.stats()
        new = options.files if options.scenario == "full" else options.new
        total = options.files + (0 if options.scenario == "full" else options.new)
        checkpoint = pl.read_parquet(io.BytesIO(self._stub.read(CHECKPOINT_KEY)))
        self._resources.close()
        if (checkpoint.height, measurement.output["new_events_processed"]) != (total, new):
            raise WrongResultError(f"{candidate.name}: {checkpoint.height} rows, {measurement.output}")
        if dict(checkpoint.schema) != SCHEMA or not checkpoint["timestamp"].is_sorted():
            raise WrongResultError(f"{candidate.name}: {checkpoint.schema}, or not sorted by timestamp")
        if self._expected is None:
            self._expected = checkpoint
        try:
            assert_frame_equal(checkpoint, self._expected)
        except AssertionError as error:
            raise WrongResultError(f"{candidate.name}: {error}") from error
        return {
            "stub_requests": after["requests"] - self._before["requests"],
            "stub_cpu_s": after["cpu_s"] - self._before["cpu_s"],
        }


async def _provision() -> None:
    """Tables only: objects are the stub's, and no queue is used."""
    tables = TOPOLOGY.model_copy(update={"buckets": [], "queues": [], "topics": [], "subscriptions": []})
    async with Clients() as clients:
        await provision(clients, STACK, tables)


def candidates(names: Sequence[str]) -> list[Candidate]:
    """Those of the names whose module exists, each as a command."""
    present = []
    for name in names:
        if importlib.util.find_spec(MODULES[name]) is None:
            sys.stderr.write(f"{name} skipped: {MODULES[name]} does not exist yet\n")
        else:
            present.append(Candidate(name, (sys.executable, "-m", MODULES[name])))
    return present


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="Visit events: ours next to the seed's design.")
    parser.add_argument("--scenario", choices=("full", "increment"), default="full")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--new", type=int, default=1_000, help="files that arrive before the increment")
    parser.add_argument("--latency-ms", type=float, default=15.0, help="of every S3 answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidate", action="append", choices=tuple(MODULES), help="only this one; repeatable")
    options = parser.parse_args()
    units = {"files": options.files} if options.scenario == "full" else {"new files": options.new, "old": options.files}
    with ExitStack() as resources:
        arena = Arena(options, resources)
        run(
            f"visit_events_{options.scenario}",
            candidates(options.candidate or tuple(MODULES)),
            options.rounds,
            units=units,
            before=arena.prepare,
            after=arena.check,
            libraries=LIBRARIES,
        )
    ours = [candidate for candidate in candidates(options.candidate or tuple(MODULES)) if candidate.name == "ours"]
    if options.scenario == "full" and ours:
        seconds = figure(ours[0], options.files, CHECKPOINT_KEY)
        print(f"beside it, with S3 on the emulator: ours takes {seconds:.2f} s for {options.files:,} files")


if __name__ == "__main__":
    main()
