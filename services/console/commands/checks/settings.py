"""Settings of the services: whether they take the environment that they are given, and whether it fits the queues."""

import asyncio
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.topology import Queue
from services.console.commands.checks.findings import OK, Finding, Verdict, failed, line, unchecked, warned
from services.console.commands.checks.world import World
from services.runtime.settings import PROJECT

READER = """
import importlib, json, sys
from services.runtime.settings import LaneSettings
from services.runtime.failures import BadDeclarationError
found = {}
for service, environ in json.load(sys.stdin).items():
    module = importlib.import_module(f"services.{service}.config")
    kind = next(each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__)
    names = [each.alias or name for name, each in kind.model_fields.items()]
    try:
        read, error = kind.read(environ), None
    except BadDeclarationError as wrong:
        read, error = None, str(wrong)
    values = {} if read is None else read.model_dump(include={"lease_ttl_s", "visibility_s", "stack"})
    found[service] = {"names": names, "error": error, "values": values}
json.dump(found, sys.stdout)
"""
"""Runs in a process of its own, because no service imports another."""

KNOWN = re.compile(r"(AWS|LAMBDA|POWERTOOLS|PYTHON|OTEL|LOG|LANG|LC|TZ|SSL|HTTPS?|NO)(_|$)|_[A-Z]|TZ$")
"""Variables that Lambda, the SDK, Powertools and Python read."""
DECLARED = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")


async def read_settings(environs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What each service makes of its environment: ``names`` it knows, ``error``, and some of its ``values``.

    Raises:
        RuntimeError: a service's settings cannot be imported, which is a defect.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        READER,
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    given = json.dumps({service: dict(environ) for service, environ in environs.items()})
    out, err = await process.communicate(given.encode())
    if process.returncode:
        raise RuntimeError(f"the services' settings cannot be read: {err.decode().strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(out)
    return found


async def check_settings(world: World) -> list[Finding]:
    """Three lines for each service: its settings, its variables where it is a function, and its lease."""
    read = await read_settings({service: world.variables(service) for service in world.services})
    declared = _declared_variables(world)
    found = []
    for service in world.services:
        values, error = read[service]["values"], read[service]["error"]
        found.append(line(f"settings {service}", taken(error, values.get("stack"), world.settings.stack)))
        unknown = unchecked("it runs as a worker, whose environment holds more than its settings")
        if service in world.functions:
            unknown = known(world.variables(service), {*read[service]["names"], *declared})
        found.append(line(f"settings {service}: variables", unknown))
        if "lease_ttl_s" in values or error is not None:
            found.append(line(f"settings {service}: lease", _lease(world, service, values)))
    return found


def _lease(world: World, service: str, values: Mapping[str, Any]) -> Verdict:
    if not values:
        return unchecked("its settings cannot be read")
    queues = [queue for queue in world.topology.queues if queue.consumer == service]
    hidden_s = None if service in world.functions else values["visibility_s"]
    return lease(values["lease_ttl_s"], queues, worker_visibility_s=hidden_s)


def taken(error: str | None, stack: str | None, ours: str) -> Verdict:
    """Whether a service starts, and works on this stack."""
    if error is not None:
        return failed(error, "correct the variable")
    if stack != ours:
        return failed(f"it works on stack {stack}, not on {ours}", f"set TIDEGATE_STACK to {ours}")
    return OK


def known(variables: Iterable[str], names: Iterable[str]) -> Verdict:
    """Whether each variable of a function is one that somebody reads: a misspelt one is silently nothing."""
    read = set(names)
    unknown = sorted(name for name in variables if name not in read and not KNOWN.match(name))
    if not unknown:
        return OK
    return failed(f"nobody reads {', '.join(unknown)}", "look for a misspelling in the service's config.py")


def lease(ttl_s: float, queues: Iterable[Queue], *, worker_visibility_s: int | None) -> Verdict:
    """Whether the lease of a dead holder ends before its messages have come back too often.

    On Lambda a message comes back when its visibility timeout is over; a worker hides what it holds for
    ``worker_visibility_s`` seconds at a time, so a message may come back several times while the lease still stands.
    """
    for queue in queues:
        if worker_visibility_s is None:
            if ttl_s >= queue.visibility_timeout_s:
                found = f"{ttl_s:g} s is not shorter than the {queue.visibility_timeout_s} s that {queue.name} hides"
                return failed(found, "shorten TIDEGATE_LEASE_TTL_S: a dead holder keeps its own messages waiting")
            if ttl_s > queue.timeout_s:
                found = f"{ttl_s:g} s is longer than the {queue.timeout_s} s that one invocation may take"
                return warned(found, "shorten TIDEGATE_LEASE_TTL_S: it outlives whoever holds it")
        elif (lost := math.ceil(ttl_s / worker_visibility_s)) > queue.max_receives // 2:
            found = f"{ttl_s:g} s cost {lost} of {queue.max_receives} receives of {queue.name} when a holder dies"
            return failed(found, "shorten TIDEGATE_LEASE_TTL_S, or raise TIDEGATE_WORKER_VISIBILITY_S")
    return OK


def _declared_variables(world: World) -> set[str]:
    folder = world.settings.pipelines
    files = [*folder.glob("*.toml"), *folder.glob("*/*.toml")]
    return {name for path in files for name in DECLARED.findall(path.read_text(encoding="utf-8", errors="replace"))}
