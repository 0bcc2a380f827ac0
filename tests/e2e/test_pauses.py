"""Mergers that are stopped in the middle of a commit and wake, die or arrive too late."""

import asyncio

import pytest

from services.console.demo.visit_events import Upload, generate
from tests.e2e.fleet import Fleet
from tests.e2e.proxy import Call, Proxy
from tests.e2e.world import World
from tests.emulator_support import Stack

TTL_S = 2
REFUSED = "commit refused"
OUTRUN = "somebody else committed first; starting over"
STALE = "commit refused: the lease is no longer ours"
ROLLED_FORWARD = "settling a commit whose merger died"

UPLOADS: list[Upload] = generate(4, 40)


def is_manifest_put(call: Call) -> bool:
    """Whether a request writes down what a commit is about to do."""
    return call.method == "PUT" and "/commits/" in call.path


def is_intent(call: Call) -> bool:
    """Whether a request announces a commit, with the fencing token of its lease."""
    return call.target == "UpdateItem" and b'"fencing_token"' in call.body


@pytest.fixture
async def waiting(world: World, fleet: Fleet) -> World:
    """Validated segments that no merger has seen yet; leases and visibility are short."""
    fleet.settings |= {"TIDEGATE_LEASE_TTL_S": str(TTL_S), "TIDEGATE_WORKER_VISIBILITY_S": "2"}
    validator = fleet.start("validator")
    await world.put(UPLOADS)
    await world.validated(len(UPLOADS))
    validator.kill()
    return world


async def _commits_once(world: World, fleet: Fleet) -> None:
    """Everything is merged, and every version in history was committed by exactly one worker."""
    await world.idle()
    await world.check()
    committed = [line["version"] for worker in fleet.workers for line in worker.lines("committed")]
    assert sorted(committed) == [version for version, _ in await world.versions()]


async def test_mergers_that_slept_are_refused(waiting: World, fleet: Fleet, proxy: Proxy, stack: Stack) -> None:
    """Two mergers are stopped, each outrun by the next one; when they wake, neither commits anything.

    The first was about to announce its commit: its old fencing token is refused and it does not even try to swap.
    The second had its swap on the way: S3 refuses that. Both start over and find nothing left to do.
    """
    intent = proxy.rule("hold", is_intent)
    first = fleet.start("merger", endpoint=proxy.url)
    await intent.reached()
    first.pause()
    async with Proxy(stack.endpoint) as second_proxy:
        swap = second_proxy.rule("hold", waiting.is_swap)
        second = fleet.start("merger", endpoint=second_proxy.url)
        await swap.reached()
        second.pause()
        await fleet.start("merger").said("committed")
        await waiting.idle()
        intent.release()
        swap.release()
        assert [await intent.answered(), await swap.answered()] == [400, 412]
        first.resume()
        second.resume()
        line = await first.said(STALE)
        assert "token 1 is older than 3" in line["error"]
        assert not [call for call in proxy.calls if waiting.is_swap(call)]
        await second.said(REFUSED)
        await second.said(OUTRUN)
        await _commits_once(waiting, fleet)


async def test_a_merger_that_wakes_alone_does_not_trust_its_old_lease(
    waiting: World, fleet: Fleet, proxy: Proxy
) -> None:
    """Stopped for longer than its lease with nobody else about, it takes a new lease before it commits."""
    gate = proxy.rule("hold_answer", is_manifest_put)
    sleeper = fleet.start("merger", endpoint=proxy.url)
    await gate.reached()
    sleeper.pause()
    gate.release()
    await asyncio.sleep(TTL_S)  # longer than the lease is trusted, whatever else happens
    sleeper.resume()
    await sleeper.said(STALE)
    await _commits_once(waiting, fleet)
    assert sleeper.lines("committed")[0]["fencing_token"] == 2


async def test_a_late_swap_that_wins_is_settled_by_the_other_merger(
    waiting: World, fleet: Fleet, proxy: Proxy, stack: Stack
) -> None:
    """Two mergers are about to swap; the stopped one wins. The other settles that commit before its own.

    When the stopped one wakes, it settles its commit once more, which changes nothing.
    """
    gate = proxy.rule("hold", waiting.is_swap)
    sleeper = fleet.start("merger", endpoint=proxy.url)
    await gate.reached()
    sleeper.pause()
    async with Proxy(stack.endpoint) as second:
        second_gate = second.rule("hold", waiting.is_swap)
        other = fleet.start("merger", endpoint=second.url)
        await second_gate.reached()
        gate.release()
        assert await gate.answered() == 200
        second_gate.release()
        assert await second_gate.answered() == 412
        await other.said(REFUSED)
        await other.said(ROLLED_FORWARD)
        await waiting.idle()
        sleeper.resume()
        await sleeper.said("committed")
        await _commits_once(waiting, fleet)
