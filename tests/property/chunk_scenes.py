"""Where a run stands when trouble comes, how trouble is walked through it, and how everything must end."""

import math
from collections.abc import Awaitable, Callable

from contracts.runs import RunState
from services.chunk_worker.ports import TableState
from services.console.commands.holding import Verb
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import TemporaryError
from tests.property.chunk_processes import Mutation
from tests.property.chunk_world import ENDED, ChunkWorld
from tests.property.world.faults import Blow
from tests.unit.chunk_worker.world import RUN, TTL_S, key

Scene = Callable[[ChunkWorld], Awaitable[None]]
MOST_PLACES = 60


async def asked(world: ChunkWorld) -> None:
    """A run was asked for."""
    await world.ask(RUN)


async def executed(world: ChunkWorld) -> None:
    """A state machine was started."""
    world.execute(RUN)


async def last(world: ChunkWorld) -> None:
    """All chunks but one are done."""
    await world.ask(RUN)
    while len(world.due()) != 1 or not world.ledger.table.chunks:
        await world.take("a", world.due()[0])


async def last_of_execution(world: ChunkWorld) -> None:
    """The same, and a state machine waits for it."""
    world.execute(RUN)
    while len(world.due()) != 1 or not world.ledger.table.chunks:
        await world.take("a", world.due()[0])


async def poisoned(world: ChunkWorld) -> None:
    """The last chunk is about to be split, and one half of it cannot be done."""
    await last(world)
    world.poisoned.add(key(5).values)
    world.database.row(RUN, "2").attempts = 3


async def redriven(world: ChunkWorld) -> None:
    """One half of a chunk was done, the other has failed and comes again after its cause was removed."""
    await poisoned(world)
    await world.drain()
    world.poisoned.clear()
    world.redrive()


async def resumed(world: ChunkWorld) -> None:
    """The same, and it is the run that is resumed."""
    await poisoned(world)
    await world.drain()
    world.poisoned.clear()
    await world.operate(Verb.RESUME, RUN)


async def paused(world: ChunkWorld) -> None:
    """The last chunk's message was dropped, for the run is held; now the run is resumed."""
    await last(world)
    await world.operate(Verb.PAUSE, RUN)
    await world.drain()
    await world.operate(Verb.RESUME, RUN)


SCENES: list[Scene] = [asked, executed, last, last_of_execution, poisoned, redriven, resumed, paused]


async def concluded(world: ChunkWorld) -> None:
    """All trouble is over but for keys that cannot be worked on; then for those, too."""
    world.database.trouble.clear()
    for run in world.runs():
        if run.paused:
            await world.operate(Verb.RESUME, run.run_id)
    await world.drain()
    present = world.database.snapshots.get(world.job.name)
    heard_of = world.heard_of()
    for run in world.runs():
        assert run.state in ENDED, run
        if run.state is RunState.CANCELLED or run.run_id != present:
            continue
        for entry in await world.entries(run.run_id):
            assert entry.state is not ChunkState.PLANNED, entry
            if entry.state is ChunkState.FAILED:
                assert (run.run_id, entry.chunk_id) in heard_of, "nobody will hear of it"
    world.poisoned.clear()
    world.redrive()
    if present is not None:
        await world.operate(Verb.RESUME, present)
    await world.drain()
    for run in world.runs():
        assert run.state in ({RunState.SUCCEEDED} if run.run_id == present else ENDED), run
    world.check()


async def walk_blows(scene: Scene, blow: Blow, mutation: Mutation | None = None) -> int:
    """Strike the next process at every exchange; how many there are."""
    for place in range(MOST_PLACES):
        async with ChunkWorld(mutation=mutation) as world:
            await scene(world)
            await world.take("a", world.due()[0], place)
            if not world.processes:
                return place
            await world.go("a", math.inf, blow)
            await concluded(world)
    raise AssertionError("there are more places")


async def walk_sleeps(scene: Scene, others: float = math.inf, mutation: Mutation | None = None) -> int:
    """Let the next process fall asleep before every exchange until others have taken over, for so many exchanges."""
    for place in range(MOST_PLACES):
        async with ChunkWorld(mutation=mutation) as world:
            await scene(world)
            [letter, *_] = world.due()
            await world.take("a", letter, place)
            if not world.processes:
                return place
            world.clock.advance(TTL_S + 1)
            await world.take("b", letter, others)
            await world.go("a")
            await world.go("b")
            await concluded(world)
    raise AssertionError("there are more places")


async def broken_off(mutation: Mutation | None = None) -> None:
    """The database is away in the midst of a chunk, again and again."""
    world = ChunkWorld(mutation=mutation)
    await last(world)
    world.database.fail("update 2", *[TemporaryError("gone away")] * 9)
    await world.drain()
    assert world.run_states() == {RUN: RunState.SUCCEEDED}
    assert world.database.row(RUN, "2").state is TableState.DONE, "it was blamed, and split"
    world.check()
