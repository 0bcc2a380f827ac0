"""Systematic walks: the same stage again and again, each time with trouble at the next exchange."""

from collections.abc import Awaitable, Callable, Mapping

from tests.property.world.deployment import MERGE, PLAN, VALIDATE
from tests.property.world.faults import Blow, Line, Strike
from tests.property.world.processes import Mutation
from tests.property.world.stages import STAGES, Stage, exchanges


async def walk_strikes(stage: str, blow: Blow, *, one_by_one: bool, mutation: Mutation | None = None) -> int:
    """Strike at every exchange of a stage in turn, let everything come again, and hold every promise.

    Where the same batch comes again, the conservation tables must even be those of an undisturbed run. Returns the
    number of exchanges.

    Raises:
        AssertionError: a promise was broken; the note says where.
    """
    calm = await STAGES[stage](mutation)
    count = await exchanges(calm)
    await calm.finish()
    for place in range(1, count + 1):
        struck = await STAGES[stage](mutation)
        try:
            await struck.strike(Line(Strike(blow, place)))
            if one_by_one:
                await struck.again_one_by_one()
            await struck.finish()
            assert one_by_one or await struck.tables() == await calm.tables(), "the run's table tells of the trouble"
        except AssertionError as error:
            error.add_note(f"{stage}: {blow.name} at exchange {place} of {count}, one_by_one={one_by_one}")
            raise
    return count


async def _others_take_over(stage: Stage) -> None:
    """The lease runs out and others do all the work."""
    stage.world.clock.advance(stage.world.merger.lease_ttl_s + 1)
    await stage.world.drain(stage.model)


async def _restored_meanwhile(stage: Stage) -> None:
    """The lease runs out and everything is undone, while what waits goes on waiting."""
    stage.world.clock.advance(stage.world.merger.lease_ttl_s + 1)
    request = _restore_to_nothing(stage, discard=False)
    await stage.world.handle(MERGE, [m for m in stage.world.now_waiting(MERGE) if request in m.body])
    await stage.model.look()


async def _scanned(stage: Stage) -> None:
    """A scan is planned and dispatched."""
    stage.world.request_scan()
    for queue in (PLAN, VALIDATE):
        await stage.world.handle(queue, stage.world.now_waiting(queue))
    await stage.model.look()


async def _undone(stage: Stage) -> None:
    """Others do all the work, and it is undone."""
    await _others_take_over(stage)
    _restore_to_nothing(stage, discard=False)
    await stage.world.drain(stage.model)


async def _undone_and_done_again(stage: Stage) -> None:
    """Others do all the work, it is undone, and a scan brings it back."""
    await _undone(stage)
    stage.world.request_scan()
    await stage.world.drain(stage.model)


async def _discarded(stage: Stage) -> None:
    """Others do all the work, and it is discarded for good."""
    await _others_take_over(stage)
    _restore_to_nothing(stage, discard=True)
    await stage.world.drain(stage.model)


def _restore_to_nothing(stage: Stage, *, discard: bool) -> str:
    request = stage.world.request_restore(0, discard=discard)
    stage.model.restores[request] = (0, discard)
    return request


Meanwhile = Callable[[Stage], Awaitable[None]]
MEANWHILE: Mapping[str, Meanwhile] = {
    "others-take-over": _others_take_over,
    "scanned": _scanned,
    "restored-meanwhile": _restored_meanwhile,
    "undone": _undone,
    "undone-and-done-again": _undone_and_done_again,
    "discarded": _discarded,
}


async def walk_pauses(stage: str, meanwhile: str, *, mutation: Mutation | None = None) -> int:
    """Stop the process before each exchange of a stage in turn, let something happen, and wake it again.

    Returns the number of exchanges.

    Raises:
        AssertionError: a promise was broken; the note says where.
    """
    count = await exchanges(await STAGES[stage](mutation))
    for place in range(1, count + 1):
        paused = await STAGES[stage](mutation)
        try:
            await paused.strike(Line(at_place=_at(place, paused, meanwhile)))
            await paused.finish()
        except AssertionError as error:
            error.add_note(f"{stage}: {meanwhile} before exchange {place} of {count}")
            raise
    return count


def _at(wanted: int, stage: Stage, meanwhile: str) -> Callable[[int], Awaitable[None]]:
    async def pause(place: int) -> None:
        if place == wanted:
            await MEANWHILE[meanwhile](stage)

    return pause
