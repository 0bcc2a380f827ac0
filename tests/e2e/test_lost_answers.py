"""Requests that succeed while their answers are lost."""

from services.console.demo.dice import Dice
from services.console.demo.visit_events import generate
from tests.e2e.fleet import Fleet
from tests.e2e.proxy import Call, Proxy
from tests.e2e.world import World

LOST_SHARE = 0.1


async def _content_versions(world: World) -> int:
    bucket, key = world.checkpoint.split("/", 1)
    return len([info async for info in world.session.objects.list_versions(bucket, key)])


async def test_a_swap_whose_answer_is_lost_is_recognised(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """The SDK swaps again and is refused by its own first success; the stamp tells that it is one."""
    lost = proxy.rule("lose", world.is_swap)
    fleet.start("validator")
    merger = fleet.start("merger", endpoint=proxy.url)
    await world.put(generate(7, 40))
    await world.idle()
    await world.check()
    assert lost.statuses == [200]
    swaps = [call for call in proxy.calls if world.is_swap(call)]
    commits = len(await world.versions())
    assert len(swaps) > commits
    assert len(merger.lines("committed")) == commits == await _content_versions(world)
    assert not merger.lines("commit refused")


async def test_a_swap_that_nobody_answers_for_is_recognised(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """The answer is lost and every repetition too: the merger looks at the object instead of giving up."""
    proxy.rule("lose", world.is_swap)
    silence = proxy.rule("cut", world.is_swap, times=None)
    fleet.start("validator")
    merger = fleet.start("merger", endpoint=proxy.url)
    await world.put(generate(8, 40))
    await merger.said("committed")
    assert silence.seen
    silence.end()
    await world.idle()
    await world.check()
    assert len(merger.lines("committed")) == len(await world.versions()) == await _content_versions(world)


async def test_a_swap_that_never_arrives_is_tried_anew(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """Every repetition is cut off before it reaches S3: nothing is committed until one gets through."""
    silence = proxy.rule("cut", world.is_swap, times=None)
    fleet.start("validator")
    merger = fleet.start("merger", endpoint=proxy.url)
    await world.put(generate(9, 40))
    await merger.said("commit refused")
    assert not await world.versions()
    silence.end()
    await world.idle()
    await world.check()


async def test_lossy_network(world: World, fleet: Fleet, proxy: Proxy) -> None:
    """Of everything that any worker asks of AWS, the first answer and then one in ten is lost.

    AWS has acted on the request each time.
    """
    dice = Dice(77)
    known: set[tuple[str, str]] = set()

    def unlucky(call: Call) -> bool:
        kind = (call.method, call.target)
        is_new = kind not in known
        known.add(kind)
        return is_new or dice.chance(LOST_SHARE)

    lost = proxy.rule("lose", unlucky, times=None)
    for service in ("planner", "validator", "merger"):
        fleet.start(service, endpoint=proxy.url)
    await world.put(generate(10, 40))
    await world.idle()
    await world.check()
    scan = await world.scan()
    assert scan.table.records == 0
    await world.check()
    targets = {call.target for call in lost.seen}
    assert {"TransactWriteItems", "UpdateItem", "DeleteMessageBatch"} <= targets
