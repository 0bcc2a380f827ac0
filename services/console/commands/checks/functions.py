"""Lambda functions, what feeds them, and what they are made of."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts.topology import Queue
from services.console.commands.checks.findings import (
    DEPLOY,
    OK,
    Finding,
    Verdict,
    failed,
    line,
    refusal,
    require,
    unchecked,
    warned,
)
from services.console.commands.checks.world import World
from services.runtime.aws.errors import translated
from services.runtime.failures import MissingObjectError, TidegateError
from services.runtime.settings import PROJECT

SIZES_FILE = PROJECT / "dist" / "sizes.json"
MB = 1024 * 1024
UNZIPPED_LIMIT = 250 * MB
"""Bytes of a function with its layers, by AWS's quotas for Lambda."""
MOST_LAYERS = 5
MOST_TIMEOUT_S = 900
LEAST_MEMORY_MB = {"planner": 256, "fetcher": 512, "validator": 512, "merger": 512, "chunk_worker": 256}
"""Above the peak of a worker: 100 MB of planner and chunk worker, 280 to 320 MB of the others (bench/results)."""


async def find_functions(world: World) -> dict[str, TidegateError | None]:
    """Put the configurations of the functions that are there into the world; why the others are not."""
    missing: dict[str, TidegateError | None] = {}
    for service in world.services:
        try:
            with translated(f"look at function {world.function_name(service)}"):
                answer = await world.lambdas.get_function(FunctionName=world.function_name(service))
            world.functions[service] = answer["Configuration"]
        except TidegateError as error:
            missing[service] = error
    return missing


async def check_functions(world: World, missing: Mapping[str, TidegateError | None]) -> list[Finding]:
    """A line for each function and for each thing about it; workers are no functions and are not judged."""
    found = []
    for service in world.services:
        check = f"function {service}"
        error = missing.get(service)
        if service in world.functions:
            found += [line(check, OK), *await _function(world, service, check)]
        elif isinstance(error, MissingObjectError) and not world.functions:
            found.append(line(check, unchecked("there are no functions here: the services run as workers")))
        elif error is not None:
            found.append(line(check, refusal(error)))
    return found


async def _function(world: World, service: str, check: str) -> list[Finding]:
    have = world.functions[service]
    queues = [queue for queue in world.topology.queues if queue.consumer == service]
    sizes = read_sizes(SIZES_FILE)
    found = [
        line(f"{check}: timeout", timeout(int(have["Timeout"]), max(queue.timeout_s for queue in queues))),
        line(f"{check}: memory", memory(int(have["MemorySize"]), LEAST_MEMORY_MB.get(service, 0))),
        line(f"{check}: size", size(have, service, sizes)),
        line(f"{check}: layers", layers(have.get("Layers", []), service, sizes)),
    ]
    try:
        mappings = await _mappings(world, service)
    except TidegateError as error:
        return [*found, *(line(f"{check}: fed by {queue.name}", refusal(error)) for queue in queues)]
    return [
        *found,
        *(
            line(f"{check}: fed by {queue.name}", mapping(mappings.get(world.name(queue.name)), queue))
            for queue in queues
        ),
    ]


async def _mappings(world: World, service: str) -> dict[str, dict[str, Any]]:
    name = world.function_name(service)
    with translated(f"list what feeds function {name}"):
        answer = await world.lambdas.list_event_source_mappings(FunctionName=name)
    return {each["EventSourceArn"].rpartition(":")[2]: each for each in answer["EventSourceMappings"]}


def timeout(have_s: int, declared_s: int) -> Verdict:
    """Whether a function may work for as long as its queues allow."""
    return require(
        declared_s <= have_s <= MOST_TIMEOUT_S, f"it is {have_s} s", f"set it to {declared_s} s: its queue allows that"
    )


def memory(have_mb: int, least_mb: int) -> Verdict:
    """Whether a function has the memory that its work was seen to take."""
    if have_mb >= least_mb:
        return OK
    return warned(f"it is {have_mb} MB", f"set it to {least_mb} MB at least: Lambda kills what needs more")


def mapping(have: Mapping[str, Any] | None, queue: Queue) -> Verdict:
    """Whether a queue feeds its function in the way that redelivery and batching were designed for."""
    if have is None:
        return failed(f"queue {queue.name} feeds nobody", DEPLOY)
    window = have.get("MaximumBatchingWindowInSeconds", 0)
    most = have.get("ScalingConfig", {}).get("MaximumConcurrency")
    expected = (
        (
            "ReportBatchItemFailures" in have.get("FunctionResponseTypes", []),
            "one message that fails brings back its whole batch",
            "let it report batch item failures (partial batch response)",
        ),
        (
            have["BatchSize"] <= queue.batch_size,
            f"batches of {have['BatchSize']}",
            f"{queue.batch_size} at most, or a batch outlasts the timeout",
        ),
        (
            window <= queue.batch_window_s,
            f"a batch window of {window} s",
            f"{queue.batch_window_s} s at most: the visibility timeout counts on it",
        ),
        (
            most == queue.maximum_concurrency,
            f"its maximum concurrency is {most or 'unlimited'}",
            f"set it to {queue.maximum_concurrency}",
        ),
    )
    for holds, found, todo in expected:
        if not holds:
            return failed(found, todo)
    if have.get("State", "Enabled") not in {"Enabled", "Enabling", "Creating", "Updating"}:
        return warned(f"it is {have['State']}", "enable it, unless workers read this queue")
    return OK


def read_sizes(path: Path) -> dict[str, Any] | None:
    """What a build of the packages weighs; None where nothing was built here."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def size(have: Mapping[str, Any], service: str, sizes: Mapping[str, Any] | None) -> Verdict:
    """Whether Lambda takes the function with its layers; zipped sizes alone can only say no."""
    zipped = int(have["CodeSize"]) + sum(int(each.get("CodeSize", 0)) for each in have.get("Layers", []))
    todo = "move distributions out of its layers (docs/packages.md)"
    if zipped > UNZIPPED_LIMIT:
        return failed(
            f"{zipped / MB:.0f} MB zipped are more than the {UNZIPPED_LIMIT // MB} MB it may be unzipped", todo
        )
    if sizes is None or service not in sizes["functions"]:
        return unchecked(f"{zipped / MB:.1f} MB zipped, unzipped unknown", "build it here: make package")
    unzipped = int(sizes["functions"][service]["unzipped_with_layers"])
    return require(unzipped <= UNZIPPED_LIMIT, f"{unzipped / MB:.0f} MB unzipped", todo)


def layers(have: Iterable[Mapping[str, Any]], service: str, sizes: Mapping[str, Any] | None) -> Verdict:
    """Whether a function has the layers that its package was built for."""
    names = [str(each["Arn"]).split(":")[6] for each in have]
    if len(names) > MOST_LAYERS:
        return failed(f"{len(names)} layers are more than {MOST_LAYERS}", "attach those of docs/packages.md only")
    if sizes is None or service not in sizes["functions"]:
        return unchecked("which it needs is unknown", "build it here: make package")
    lacking = [layer for layer in sizes["functions"][service]["layers"] if not any(n.endswith(layer) for n in names)]
    return require(not lacking, f"it lacks {', '.join(lacking)}", "attach them: it cannot import without")
