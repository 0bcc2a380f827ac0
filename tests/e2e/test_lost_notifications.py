"""What no event announced, and what a lost index knew."""

import asyncio

from contracts.topology import TOPOLOGY
from services.console.demo.visit_events import Expected, generate
from services.console.local.provision import provision
from tests.e2e.fleet import Fleet
from tests.e2e.world import World

FLEET = ("planner", "validator", "merger")


async def test_a_scan_finds_what_no_event_announced(world: World, fleet: Fleet) -> None:
    """Notifications are lost: of uploads, and of segments that were validated. One scan brings both in.

    Segments that nobody merged are announced again. The scan plans their uploads for itself too, because nothing
    has settled them yet; they still count once.
    """
    uploads = generate(3, 80)
    validator = fleet.start("validator")
    await world.put(uploads[:40])
    await world.validated(40)
    validator.kill()
    await world.put(uploads[40:], announced=False)
    for queue in ("validate-objects", "merge-segments"):
        await world.lose_messages(queue)
    assert [followed.table.pending_segments > 0 for followed in await world.ledger()] == [True]

    planner = fleet.start("planner", TIDEGATE_STRANDED_AFTER_S="0")
    for service in FLEET[1:]:
        fleet.start(service)
    scan = await world.scan()
    assert scan.run.scan.listed == len(uploads)
    assert scan.run.scan.ignored == Expected.of(uploads).ignored
    await world.idle()
    await world.check()
    assert planner.lines("announcing stranded segments again")
    assert (await world.scan()).run.scan.dispatched == 0


async def test_lost_tables_are_rebuilt_from_manifests(world: World, fleet: Fleet) -> None:
    """Tables and queues are gone, objects stay: the next scan doubles no row and brings the new ones in.

    Uploads without a row were settled in the lost tables only; they are judged and counted once more.
    """
    uploads = generate(88, 100)
    for service in FLEET:
        fleet.start(service)
    await world.put(uploads[:35])
    await fleet.workers[-1].said("committed")
    await world.put(uploads[35:70])
    await world.idle()
    await world.check()
    versions = await world.versions()
    assert len(versions) > 1
    fleet.kill_all()

    await world.put(uploads[70:], announced=False)
    for queue in world.session.queue_names():
        await world.lose_messages(queue)
    dynamodb = world.session.clients.dynamodb
    names = [world.session.settings.resource(table.name) for table in TOPOLOGY.tables]
    await asyncio.gather(*(dynamodb.delete_table(TableName=name) for name in names))
    await provision(world.session.clients, world.session.settings.stack, TOPOLOGY)
    assert await world.versions() == []

    for service in FLEET:
        fleet.start(service)
    scan = await world.scan()
    assert scan.table.records == Expected.of(uploads[70:]).merged
    await world.idle()
    assert (await world.versions())[: len(versions)] == versions
    await world.check(judged_again=uploads[:70])
