"""Queues, their dead-letter queues, and what waits in those."""

import json
from collections.abc import Mapping
from typing import Any

from contracts.topology import VISIBILITY_FACTOR, Queue
from services.console.commands.checks.findings import OK, Finding, Verdict, aspects, require, unchecked, warned
from services.console.commands.checks.world import World

Attributes = Mapping[str, str]


async def check_queues(world: World) -> list[Finding]:
    """A line for each queue and dead-letter queue, and for what is declared of them."""
    found = []
    for queue in world.topology.queues:
        found += await _queue(world, queue)
        found += await _dead_letters(world, queue)
    return found


async def _queue(world: World, queue: Queue) -> list[Finding]:
    function = world.functions.get(queue.consumer)
    timeout_s = queue.timeout_s if function is None else max(queue.timeout_s, int(function["Timeout"]))
    least = VISIBILITY_FACTOR * timeout_s + queue.batch_window_s
    dead_letters = world.name(f"{queue.name}-dlq")
    _, found = await aspects(
        f"queue {queue.name}",
        world.queue(queue.name),
        {
            "redrive policy": lambda have: redrive(have, dead_letters, queue.max_receives),
            "visibility timeout": lambda have: visibility(have, least),
            "retention": lambda have: retention(have, queue.retention_s),
        },
    )
    return found


async def _dead_letters(world: World, queue: Queue) -> list[Finding]:
    _, found = await aspects(
        f"queue {queue.name}-dlq",
        world.queue(f"{queue.name}-dlq"),
        {
            "retention": lambda have: retention(have, queue.retention_s),
            "is empty": lambda have: is_empty(have, queue.name),
        },
    )
    return found


def redrive(attributes: Attributes, dead_letters: str, max_receives: int) -> Verdict:
    """Whether SQS gives up into the right queue, and not too soon."""
    try:
        policy: dict[str, Any] = json.loads(attributes.get("RedrivePolicy") or "{}")
        target, receives = str(policy.get("deadLetterTargetArn", "")), int(policy.get("maxReceiveCount", 0))
    except (ValueError, TypeError, AttributeError):
        return unchecked(f"its redrive policy cannot be read: {attributes.get('RedrivePolicy')!r}")
    if target.rpartition(":")[2] != dead_letters:
        found = f"what fails goes to {target or 'no dead-letter queue, and comes again until it is too old'}"
        return require(holds=False, found=found, todo=f"set deadLetterTargetArn to {dead_letters}")
    return require(
        receives >= max_receives,
        f"SQS gives up after {receives} receives",
        f"set maxReceiveCount to {max_receives} at least: waiting for a lease costs receives, too",
    )


def visibility(attributes: Attributes, least_s: int) -> Verdict:
    """Whether a message stays hidden for as long as retries of a function may take."""
    have = int(attributes.get("VisibilityTimeout", 0))
    why = f"{VISIBILITY_FACTOR} times the function's timeout and the batch window"
    return require(have >= least_s, f"it is {have} s", f"set it to {least_s} s at least ({why})")


def retention(attributes: Attributes, declared_s: int) -> Verdict:
    """Whether a message is kept for as long as people may take to look at it."""
    have = int(attributes.get("MessageRetentionPeriod", 0))
    return require(have >= declared_s, f"messages are kept for {have} s", f"set it to {declared_s} s")


def is_empty(attributes: Attributes, queue: str) -> Verdict:
    """Whether SQS has given up on anything that nobody has dealt with yet."""
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    waiting = sum(int(attributes.get(name, 0)) for name in counts)
    if not waiting:
        return OK
    return warned(f"{waiting} messages wait", f"tidegate dlq show {queue}, then docs/runbooks/redrive.md")
