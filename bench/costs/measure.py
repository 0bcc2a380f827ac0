"""Measures what runs of different sizes ask AWS for, and how long the functions work on them.

    eval "$(tidegate local env)"           # a running embedded stack, for its sample sources
    python -m bench.costs.measure          # writes bench/results/costs.json

The Lambda handlers run in processes of their own, as functions of a stack beside it: each behind a proxy that counts
and that answers as slowly as AWS, each fed from its queues in batches as Lambda would hand them over. Linux only.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.costs.counting import CountingProxy, round_trips
from bench.costs.figures import RESULTS, WARMING_UP, seconds_rows
from bench.costs.mapping import Function, feed, started
from bench.costs.seconds import LATENCY_S, billed_s, flat
from bench.machine import describe
from bench.visit_events.files import event_files
from contracts.topology import TOPOLOGY
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT

SERVICES = tuple(dict.fromkeys(queue.consumer for queue in TOPOLOGY.queues))
SPACED = 10
"""Files of the scenario in which each comes by itself."""
UPLOADS = 32

Act = Callable[["Crew"], Awaitable[None]]


def smaller_segments(folder: Path) -> Path:
    """The declarations with segments small enough for the samples to make several."""
    for path in (PROJECT / "pipelines").glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "nyc_311":
            text = text.replace("batch_size = 2_000", "batch_size = 500\nsegment_rows = 1_000")
        if path.stem == "ecommerce":
            text = text.replace("lag_seconds = 2\n", "lag_seconds = 2\nsegment_rows = 500\n")
        (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "conflict_report").symlink_to(PROJECT / "pipelines" / "conflict_report")
    return folder


@dataclass(frozen=True)
class Crew:
    """All functions of a stack with one set of declarations; their queues are read while ``let`` is set."""

    stack: str
    pipelines: Path
    clients: Clients
    functions: Mapping[str, Function]
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, *arguments: str) -> None:
        """Run a pipeline to its end."""
        await tidegate(self.stack, self.pipelines, "run", *arguments, "--wait")


@asynccontextmanager
async def crew(stack: str, pipelines: Path, logs: Path, clients: Clients) -> AsyncIterator[Crew]:
    """A warm function of each service behind a proxy of its own, fed from its queues.

    Raises:
        RuntimeError: a function ended.
    """
    environ = {**os.environ, "TIDEGATE_STACK": stack, "TIDEGATE_PIPELINES": str(pipelines)}
    async with AsyncExitStack() as opened:
        functions = {}
        for service in SERVICES:
            proxy = await opened.enter_async_context(CountingProxy(os.environ["AWS_ENDPOINT_URL"]))
            variables = environ | {"AWS_ENDPOINT_URL": proxy.url}
            functions[service] = await opened.enter_async_context(
                started(service, proxy.bill, variables, logs / f"{service}.log")
            )
        found = Crew(stack, pipelines, clients, functions)
        async with asyncio.TaskGroup() as feeding:
            tasks = [
                feeding.create_task(feed(queue, stack, clients, functions[queue.consumer], found.let))
                for queue in TOPOLOGY.queues
            ]
            yield found
            for task in tasks:
                task.cancel()


async def tidegate(stack: str, pipelines: Path, *arguments: str) -> str:
    """Run an operator's command straight at the emulator, so that it is not counted."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from services.console.cli import main; main()", *arguments,
        env={**os.environ, "TIDEGATE_STACK": stack, "TIDEGATE_PIPELINES": str(pipelines)},
        cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"tidegate {' '.join(arguments)}: {err.decode()[-400:]}")
    return out.decode()


async def put_files(clients: Clients, bucket: str, first: int, count: int, *, pause_s: float = 0.0) -> None:
    """Upload event files, as the systems that make them do: many at a time, or each by itself."""
    at_once = asyncio.Semaphore(1 if pause_s else UPLOADS)

    async def put(key: str, body: bytes) -> None:
        async with at_once:
            await clients.s3.put_object(Bucket=bucket, Key=key, Body=body)
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(put(key, body) for key, body in event_files(first, count)))


async def measured(name: str, crew: Crew, act: Act, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What one piece of work took, by service; what ``act`` leaves in the queues is handed over when it has ended."""
    before = {
        service: (each.bill.units.copy(), each.bill.operations.copy(), len(each.bill.spans), replace(each.taken))
        for service, each in crew.functions.items()
    }
    begun = time.monotonic()
    await act(crew)
    crew.let.set()
    await tidegate(crew.stack, crew.pipelines, "wait", "--idle", "--timeout", "300")
    crew.let.clear()
    services = {}
    for service, function in crew.functions.items():
        units, operations, spans, taken = before[service]
        now = function.taken
        asked = {
            "invocations": now.invocations - taken.invocations,
            "messages": now.messages - taken.messages,
            "wall_s": round(now.wall_s - taken.wall_s, 3),
            "cpu_s": round(now.cpu_s - taken.cpu_s, 3),
            "elsewhere_s": round(now.elsewhere_s - taken.elsewhere_s, 3),
            "round_trips": dict(sorted(round_trips(function.bill.spans[spans:]).items())),
            "units": dict(sorted((function.bill.units - units).items())),
            "operations": dict(sorted((function.bill.operations - operations).items())),
        }
        services[service] = asked | {"billed_s": round(billed_s(service, flat(asked)), 3)}
    found = {"name": name, **facts, "seconds": round(time.monotonic() - begun, 1), "services": services}
    for row in seconds_rows([found]):
        print(row, flush=True)
    return found


def files(first: int, count: int, pause_s: float = 0.0) -> Act:
    """Upload event files: all of them before any is handed over, or one by one while they are."""

    async def act(crew: Crew) -> None:
        if pause_s:
            crew.let.set()
        await put_files(crew.clients, f"{crew.stack}-raw", first, count, pause_s=pause_s)

    return act


def run(*arguments: str) -> Act:
    """Run a pipeline."""

    async def act(crew: Crew) -> None:
        crew.let.set()
        await crew.run(*arguments)

    return act


KEYS = '{"max_keys": %d}'
LOOKBACK = '{"force_initial_load": true, "initial_lookback_days": %d}'
USUAL: list[tuple[str, Act, dict[str, Any]]] = [
    ("visit_events", files(0, 500), {"rows": 500}),
    ("visit_events", files(1_000, 4_000), {"rows": 4_000}),
    ("visit_events one by one", files(10_000, SPACED, 4.0), {"rows": SPACED}),
    ("visit_events sweep", run("visit_events"), {"rows": 0, "listed": 4_500 + SPACED}),
    ("nyc_311", run("nyc_311", "--payload", LOOKBACK % 30), {"segments": 1}),
    ("nyc_311", run("nyc_311", "--payload", LOOKBACK % 365), {"segments": 1}),
    ("ecommerce", run("ecommerce", "products"), {"rows": 100, "segments": 1}),
    ("ecommerce", run("ecommerce", "orders"), {"rows": 2_000, "segments": 1}),
    ("conflict_report", run("conflict_report", "--payload", KEYS % 3_000), {"chunks": 2}),
    ("conflict_report", run("conflict_report"), {"rows": 12_000, "chunks": 4}),
    ("conflict_report", run("conflict_report", "--payload", KEYS % 250), {"chunks": 16}),
]
"""The first scenario of a pipeline is there to warm the functions up; the model takes the last two."""
SMALL: list[tuple[str, Act, dict[str, Any]]] = [
    (WARMING_UP, run("ecommerce", "customers"), {}),
    (WARMING_UP, run("nyc_311", "--payload", LOOKBACK % 30), {}),
    ("nyc_311", run("nyc_311", "--payload", LOOKBACK % 365), {"segments": 5}),
    ("ecommerce", run("ecommerce", "order_items"), {"rows": 3_981, "segments": 8}),
]
"""With smaller segments."""


async def main() -> None:
    """Measure every scenario and write the figures down."""
    stack, scenarios = f"costs-{os.getpid()}", []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as logs:
        plan = ((PROJECT / "pipelines", USUAL), (smaller_segments(Path(folder)), SMALL))
        async with Clients() as clients:
            await provision(clients, stack, TOPOLOGY)
            for pipelines, acts in plan:
                async with crew(stack, pipelines, Path(logs), clients) as workers:
                    for name, act, facts in acts:
                        scenarios.append(await measured(name, workers, act, facts))
    document = {"machine": describe(()), "latency_s": dict(LATENCY_S), "scenarios": scenarios}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
