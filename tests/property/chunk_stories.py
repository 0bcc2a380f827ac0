"""Stories of a chunked run: whatever may happen, in any order."""

import math
from typing import TypeAlias

from hypothesis import strategies as st

from services.console.commands.holding import Verb
from services.runtime.failures import PermanentError, TemporaryError
from tests.property.chunk_processes import Mutation
from tests.property.chunk_scenes import asked, concluded, executed
from tests.property.chunk_world import ChunkWorld
from tests.property.world.faults import Blow
from tests.unit.chunk_worker.world import RUN, TTL_S, key

OTHER = "run-2"
Story: TypeAlias = tuple[bool, list[tuple[object, ...]]]
"""Whether a state machine asks for the run, and what happens then."""

names = st.sampled_from(["a", "b", "c"])
steps = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 10, math.inf, math.inf])
blows = st.sampled_from([None, None, None, *Blow])
chunk_ids = st.sampled_from(["0", "1", "2", "0.1", "1.2", "2.1"])
keys = st.integers(0, 5)
takes = st.tuples(st.just("take"), names, st.integers(0, 5), steps)
goes = st.tuples(st.just("go"), names, steps, blows)
overlaps = st.tuples(st.just("overlap"), st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
ticks = st.tuples(st.just("tick"), st.sampled_from([3, 35, 61, 61, 700, 1_600]))
troubles = st.one_of(
    st.tuples(st.just("refuse"), chunk_ids, st.integers(1, 4)),
    st.tuples(st.just("break"), chunk_ids, st.integers(1, 2)),
    st.tuples(st.just("poison"), keys),
    st.tuples(st.just("delete"), keys),
)
operations = st.one_of(
    st.tuples(st.sampled_from([Verb.PAUSE, Verb.RESUME, Verb.RESUME, Verb.CANCEL]), st.sampled_from([RUN, RUN, OTHER])),
    st.tuples(st.just("redrive")),
    st.tuples(st.just("duplicate"), st.integers(0, 5)),
    st.tuples(st.just("impatient")),
    st.tuples(st.just("ask"), st.sampled_from([RUN, OTHER])),
    st.tuples(st.just("execute"), st.sampled_from([RUN, RUN, OTHER])),
)
events = st.one_of(takes, takes, takes, goes, goes, overlaps, ticks, troubles, operations)
stories: st.SearchStrategy[Story] = st.tuples(
    st.booleans(), st.one_of(st.lists(events, max_size=8), st.lists(events, min_size=20, max_size=60))
)
"""Short ones are told best, long ones find more."""


async def happens(world: ChunkWorld, event: tuple[object, ...]) -> None:
    """Let one thing happen."""
    match event:
        case ("take", str(name), int(number), (int() | float()) as count):
            ready = world.due()
            if ready and name not in world.processes:
                await world.take(name, ready[number % len(ready)], count)
        case ("overlap", int(number), int(place), int(others)):
            await overlap(world, number, place, others)
        case ("go", str(name), (int() | float()) as count, (Blow() | None) as blow):
            await world.go(name, count, blow)
        case ("tick", int(seconds)):
            world.clock.advance(seconds)
        case (str(), int()) | ("refuse" | "break", *_):
            befalls(world, event)
        case _:
            await is_asked(world, event)


async def overlap(world: ChunkWorld, number: int, place: int, others: int) -> None:
    """Let one process fall asleep over a message, and another take it over once the first one's lease has run out."""
    ready = world.due()
    if not ready or {"a", "b"} & set(world.processes):
        return
    letter = ready[number % len(ready)]
    await world.take("a", letter, place)
    world.clock.advance(TTL_S + 1)
    if letter in world.letters:
        await world.take("b", letter, others)


def befalls(world: ChunkWorld, event: tuple[object, ...]) -> None:
    """Let trouble befall keys, chunks or messages."""
    match event:
        case ("refuse", str(chunk_id), int(times)):
            world.database.fail(f"update {chunk_id}", *[PermanentError("division by zero")] * times)
        case ("break", str(chunk_id), int(times)):
            world.database.fail(f"update {chunk_id}", *[TemporaryError("connection lost")] * times)
        case ("poison", int(number)):
            world.poisoned.add(key(number).values)
        case ("delete", int(number)):
            world.database.gone[key(number).values] = 5
        case ("duplicate", int(number)):
            world.duplicate(number)
        case _:
            raise AssertionError(event)


async def is_asked(world: ChunkWorld, event: tuple[object, ...]) -> None:
    """Let an operator, a schedule or a state machine ask for something."""
    match event:
        case (Verb() as verb, str(run_id)):
            await world.operate(verb, run_id)
        case ("redrive",):
            world.redrive()
        case ("impatient",):
            world.give_up_waiting()
        case ("ask", str(run_id)):
            await world.ask(run_id)
        case ("execute", str(run_id)):
            world.execute(run_id)
        case _:
            raise AssertionError(event)


async def tell(story: Story, mutation: Mutation | None = None) -> None:
    """A run is asked for, through one door or the other, and whatever happens happens."""
    by_machine, happened = story
    async with ChunkWorld(mutation=mutation) as world:
        await (executed if by_machine else asked)(world)
        for event in happened:
            await happens(world, event)
            world.check()
        await concluded(world)
