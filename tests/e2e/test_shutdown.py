"""Workers that are asked to stop while they hold messages."""

import pytest

from services.console.demo.visit_events import generate
from tests.e2e.fleet import Fleet
from tests.e2e.proxy import Call, Proxy, Rule
from tests.e2e.world import World

FILES = 14
SOON_S = 15.0
PATIENT = {"TIDEGATE_WORKER_VISIBILITY_S": "300", "TIDEGATE_LEASE_TTL_S": "300"}
"""Nothing comes back by itself within the test."""


class SecondReceive:
    """Matches the second request for messages of one queue: by then the worker holds those of the first."""

    def __init__(self, queue: str) -> None:
        self._name = f'-{queue}"'.encode()
        self._received = 0

    def __call__(self, call: Call) -> bool:
        """Whether this is the second one."""
        of_queue = call.target == "ReceiveMessage" and self._name in call.body
        self._received += of_queue
        return of_queue and self._received > 1


@pytest.mark.parametrize(("service", "queue"), [("validator", "validate-objects"), ("merger", "merge-segments")])
async def test_gathered_messages_are_given_back_at_once(
    world: World, fleet: Fleet, proxy: Proxy, service: str, queue: str
) -> None:
    """Stopped while it gathers a batch, a worker exits 0 and all it held is visible again, long before its timeout."""
    fleet.cut_segments(1)
    await world.put(generate(6, FILES))
    if service == "merger":
        validator = fleet.start("validator")
        await world.validated(FILES)
        validator.kill()

    async def has_all() -> bool:
        return (await world.waiting(queue))[0] >= FILES

    await world.until(has_all, f"every file is in {queue}")
    before = await world.waiting(queue)
    assert before == (sum(before), 0)
    gate = proxy.rule("hold", SecondReceive(queue))
    worker = fleet.start(service, endpoint=proxy.url, TIDEGATE_VALIDATOR_LANES="1", **PATIENT)
    await gate.reached()
    assert (await world.waiting(queue))[1] == 10
    worker.terminate()
    gate.release()
    assert await worker.ended(SOON_S) == 0
    assert await world.waiting(queue) == before
    for name in ("validator", "merger"):
        fleet.start(name)
    await world.idle()
    await world.check()


async def test_begun_work_is_finished(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """Stopped in the middle of a commit, a merger finishes it, deletes its messages and exits 0."""
    gate = await _hold_a_swap(world, fleet, proxy)
    merger = fleet.start("merger", endpoint=proxy.url, **PATIENT)
    await gate.reached()
    merger.terminate()
    gate.release()
    assert await merger.ended(SOON_S) == 0
    assert len(merger.lines("committed")) == 1
    assert await world.waiting("merge-segments") == (0, 0)
    await world.check()


async def test_work_that_outlasts_the_grace_is_given_back(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """A merger that cannot finish in time gives up its lease and its messages; its swap comes too late."""
    gate = await _hold_a_swap(world, fleet, proxy)
    merger = fleet.start("merger", endpoint=proxy.url, TIDEGATE_GRACE_S="1", **PATIENT)
    await gate.reached()
    merger.terminate()
    assert await merger.ended(SOON_S) == 0
    assert merger.lines("gave up unfinished work at shutdown")
    visible, hidden = await world.waiting("merge-segments")
    assert visible
    assert not hidden
    await fleet.start("merger").said("committed")
    gate.release()
    assert await gate.answered() == 412
    await world.idle()
    await world.check()


async def _hold_a_swap(world: World, fleet: Fleet, proxy: Proxy) -> Rule:
    """One validated segment waits, and the swap that would commit it will be held."""
    await world.put(generate(6, FILES))
    validator = fleet.start("validator", TIDEGATE_VALIDATOR_LANES="1")
    await world.validated(FILES)
    validator.kill()
    return proxy.rule("hold", world.is_swap)
