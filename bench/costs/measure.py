"""Counts what runs of different sizes ask AWS for. Needs a running embedded stack, for its sample sources.

    eval "$(tidegate local env)"
    python -m bench.costs.measure          # writes bench/results/costs.json

The services run as workers of a stack of their own beside it, one lane each, each behind a proxy that counts.
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
from pathlib import Path
from typing import Any

from bench.costs.counting import Bill, CountingProxy
from bench.visit_events.files import event_files
from contracts.topology import TOPOLOGY
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT

RESULTS = PROJECT / "bench" / "results" / "costs.json"
SERVICES = tuple(dict.fromkeys(queue.consumer for queue in TOPOLOGY.queues))
LANES = {
    "TIDEGATE_PLANNER_LANES": "1",
    "TIDEGATE_FETCHER_LANES": "1",
    "TIDEGATE_VALIDATOR_LANES": "1",
    "TIDEGATE_MERGER_LANES": "1",
    "TIDEGATE_MERGER_PARTS_LANES": "1",
    "TIDEGATE_CHUNK_WORKER_LANES": "1",
    "TIDEGATE_POLL_S": "1",
}
SPACED = 10
"""Files of the scenario in which each comes by itself."""
UPLOADS = 32

Act = Callable[[Clients], Awaitable[None]]


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


@asynccontextmanager
async def crew(stack: str, pipelines: Path, logs: Path) -> AsyncIterator[dict[str, Bill]]:
    """A worker of each service behind a proxy of its own; what they asked for since."""
    environ = {**os.environ, **LANES, "TIDEGATE_STACK": stack, "TIDEGATE_PIPELINES": str(pipelines)}
    async with AsyncExitStack() as opened:
        proxies = {
            service: await opened.enter_async_context(CountingProxy(os.environ["AWS_ENDPOINT_URL"]))
            for service in SERVICES
        }
        workers = []
        try:
            for service, proxy in proxies.items():
                with (logs / f"{service}.log").open("ab") as log:
                    workers.append(
                        await asyncio.create_subprocess_exec(
                            sys.executable, "-m", f"services.{service}.worker",
                            env=environ | {"AWS_ENDPOINT_URL": proxy.url},
                            cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                        )
                    )  # fmt: skip
            yield {service: proxy.bill for service, proxy in proxies.items()}
        finally:
            for worker in workers:
                if worker.returncode is None:
                    worker.terminate()
            await asyncio.gather(*(worker.wait() for worker in workers))


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


async def measured(
    name: str, stack: str, pipelines: Path, act: Act, clients: Clients, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What one piece of work took, by service."""
    with tempfile.TemporaryDirectory() as logs:
        async with crew(stack, pipelines, Path(logs)) as bills:
            await asyncio.sleep(6)  # workers start; what they ask for before there is work is polling alone
            before = {service: bill.units.copy() for service, bill in bills.items()}
            started = time.monotonic()
            await act(clients)
            await tidegate(stack, pipelines, "wait", "--idle", "--timeout", "300")
            seconds = time.monotonic() - started
            services = {}
            for service, bill in bills.items():
                batches, busy_s = bill.busy()
                services[service] = {
                    "batches": batches,
                    "busy_s": round(busy_s, 2),
                    "units": dict(sorted((bill.units - before[service]).items())),
                    "operations": dict(sorted(bill.operations.items())),
                }
    found = {"name": name, **facts, "seconds": round(seconds, 1), "services": services}
    print(json.dumps({k: v for k, v in found.items() if k != "services"}), flush=True)
    return found


async def main() -> None:
    """Measure every scenario and write the figures down."""
    stack, scenarios = f"costs-{os.getpid()}", []
    usual = PROJECT / "pipelines"
    with tempfile.TemporaryDirectory() as folder:
        small = smaller_segments(Path(folder))
        async with Clients() as clients:
            await provision(clients, stack, TOPOLOGY)
            raw = f"{stack}-raw"

            def run(pipelines: Path, *arguments: str) -> Act:
                async def act(_: Clients) -> None:
                    await tidegate(stack, pipelines, "run", *arguments, "--wait")

                return act

            def put(first: int, count: int, pause_s: float = 0.0) -> Act:
                return lambda clients: put_files(clients, raw, first, count, pause_s=pause_s)

            keys = '{"max_keys": %d}'
            lookback = '{"force_initial_load": true, "initial_lookback_days": %d}'
            plan: list[tuple[str, Path, Act, dict[str, Any]]] = [
                ("visit_events", usual, put(0, 500), {"rows": 500}),
                ("visit_events", usual, put(1_000, 4_000), {"rows": 4_000}),
                ("visit_events one by one", usual, put(10_000, SPACED, 4.0), {"rows": SPACED}),
                ("visit_events sweep", usual, run(usual, "visit_events"), {"rows": 0}),
                ("nyc_311", usual, run(usual, "nyc_311", "--payload", lookback % 30), {"segments": 1}),
                ("nyc_311", usual, run(usual, "nyc_311", "--payload", lookback % 365), {"segments": 1}),
                ("nyc_311", small, run(small, "nyc_311", "--payload", lookback % 365), {"segments": 5}),
                ("ecommerce", usual, run(usual, "ecommerce", "products"), {"rows": 100, "segments": 1}),
                ("ecommerce", usual, run(usual, "ecommerce", "orders"), {"rows": 2_000, "segments": 1}),
                ("ecommerce", small, run(small, "ecommerce", "order_items"), {"rows": 3_981, "segments": 8}),
                ("conflict_report", usual, run(usual, "conflict_report"), {"rows": 12_000, "chunks": 4}),
                ("conflict_report", usual, run(usual, "conflict_report", "--payload", keys % 250), {"chunks": 16}),
            ]  # fmt: skip
            for name, pipelines, act, facts in plan:
                scenarios.append(await measured(name, stack, pipelines, act, clients, facts))
    RESULTS.write_text(json.dumps({"scenarios": scenarios}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
