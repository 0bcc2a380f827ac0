"""One small scenario, brought to the moment where one service has one batch to handle."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from services.runtime.conservation import Hop, conserve
from tests.property.event_log_world import RAW
from tests.property.world.deployment import MERGE, PLAN, VALIDATE, Deployment, Waiting
from tests.property.world.faults import Line
from tests.property.world.model import Kind, Model
from tests.property.world.processes import Mutation
from tests.property.world.uploads import upload

FILES = (Kind.VALID, Kind.BAD, Kind.VALID, Kind.SANDBOX, Kind.VALID)
LONG_S = 2 * 86_400
"""So long that what is older than this is out of a sweep's sight, unless it looks at everything again."""


@dataclass
class Stage:
    """A deployment with one batch waiting for one service, and nothing else."""

    world: Deployment
    model: Model
    queue: str

    @property
    def batch(self) -> list[Waiting]:
        """What waits for that service."""
        return self.world.now_waiting(self.queue)

    async def strike(self, line: Line) -> None:
        """Handle the batch once, in a process with this line."""
        await self.world.handle(self.queue, self.batch, line)
        await self.model.look()

    async def again_one_by_one(self) -> None:
        """What was not finished comes back one by one, last first, after any lease has run out."""
        self.world.clock.advance(self.world.merger.lease_ttl_s + 1)
        for message in reversed(self.batch):
            await self.world.handle(self.queue, [message])
            await self.model.look()

    async def finish(self) -> None:
        """Come to rest and hold every promise."""
        await self.world.come_to_rest(self.model)
        await self.model.check_rest()

    async def tables(self) -> dict[str, tuple[Hop, ...]]:
        """The conservation tables of all runs."""
        runs = await self.world.ledger.runs(limit=1_000)
        return {run.run_id: conserve(run, await self.world.ledger.segments(run.run_id)).hops for run in runs}


async def _uploaded(mutation: Mutation | None) -> tuple[Deployment, Model]:
    world = Deployment(mutation)
    model = Model(world)
    for slot, kind in enumerate(FILES):
        await upload(model, kind, slot=slot, hour=-slot)
    return world, model


async def at_validation(mutation: Mutation | None = None) -> Stage:
    """Five uploads were announced."""
    return Stage(*await _uploaded(mutation), VALIDATE)


async def at_merge(mutation: Mutation | None = None) -> Stage:
    """Two segments were announced."""
    stage = await at_validation(mutation)
    await stage.strike(Line())
    stage.queue = MERGE
    return stage


async def at_second_merge(mutation: Mutation | None = None) -> Stage:
    """The first segment is merged, the second one was announced."""
    stage = await at_merge(mutation)
    await stage.world.handle(MERGE, stage.batch[:1])
    return stage


async def at_plan(mutation: Mutation | None = None) -> Stage:
    """Every announcement was lost, and a scan is asked for long afterwards."""
    world, model = await _uploaded(mutation)
    for message in world.now_waiting(VALIDATE):
        world.lose(message)
    world.clock.advance(LONG_S)
    world.request_scan()
    return Stage(world, model, PLAN)


async def at_empty_plan(mutation: Mutation | None = None) -> Stage:
    """A scan is asked for though everything is settled."""
    stage = await at_merge(mutation)
    await stage.world.drain(stage.model)
    stage.world.request_scan()
    stage.queue = PLAN
    return stage


async def at_planned_validation(mutation: Mutation | None = None) -> Stage:
    """A scan dispatched two segments."""
    stage = await at_plan(mutation)
    await stage.strike(Line())
    stage.queue = VALIDATE
    return stage


async def at_planned_merge(mutation: Mutation | None = None) -> Stage:
    """The scan's two segments were announced."""
    stage = await at_planned_validation(mutation)
    await stage.strike(Line())
    stage.queue = MERGE
    return stage


async def at_later_plan(mutation: Mutation | None = None) -> Stage:
    """Everything is merged and swept over; much later a new file is found by a scan alone."""
    stage = await at_merge(mutation)
    await stage.world.drain(stage.model)
    stage.world.clock.advance(LONG_S)
    stage.world.request_scan()
    await stage.world.drain(stage.model)
    stage.world.clock.advance(LONG_S)
    await upload(stage.model, Kind.VALID, slot=len(FILES))
    for message in stage.world.now_waiting(VALIDATE):
        stage.world.lose(message)
    stage.world.request_scan()
    stage.queue = PLAN
    return stage


async def at_later_merge(mutation: Mutation | None = None) -> Stage:
    """The segment of that file was announced."""
    stage = await at_later_plan(mutation)
    for queue in (PLAN, VALIDATE):
        stage.queue = queue
        await stage.strike(Line())
    stage.queue = MERGE
    return stage


async def at_restore(mutation: Mutation | None = None) -> Stage:
    """Two versions are committed and swept over, and an operator wants the first one back."""
    stage = await at_second_merge(mutation)
    await stage.world.drain(stage.model)
    stage.world.clock.advance(LONG_S)
    stage.world.request_scan()
    await stage.world.drain(stage.model)
    return await _restoring(stage, 1)


async def at_restore_of_an_undone_version(mutation: Mutation | None = None) -> Stage:
    """The second version was undone and its rows merged anew; now the operator wants that version after all."""
    stage = await at_restore(mutation)
    await stage.world.drain(stage.model)
    stage.world.request_scan()
    await stage.world.drain(stage.model)
    return await _restoring(stage, 2)


async def at_restore_among_restores(mutation: Mutation | None = None) -> Stage:
    """An undone version was brought back twice, in between for good; now the first of these comes back once more."""
    stage = await at_restore(mutation)
    await stage.world.drain(stage.model)
    for version, discard in ((0, False), (1, True), (1, True)):
        await _restoring(stage, version, discard=discard)
        await stage.world.drain(stage.model)
    return await _restoring(stage, 5)


async def _restoring(stage: Stage, version: int, *, discard: bool = False) -> Stage:
    request = stage.world.request_restore(version, discard=discard)
    stage.model.restores[request] = (version, discard)
    stage.queue = MERGE
    return stage


async def at_recovery(mutation: Mutation | None = None) -> Stage:
    """A merge was undone, then the tables were lost; a merger finds more commits in the object than in them."""
    stage = await at_merge(mutation)
    await stage.world.drain(stage.model)
    await _restoring(stage, 0)
    await stage.world.drain(stage.model)
    stage.world.clock.advance(LONG_S)
    await upload(stage.model, Kind.VALID, slot=len(FILES))
    await stage.world.handle(VALIDATE, stage.world.now_waiting(VALIDATE))
    stage.world.lose_tables()
    return stage


async def at_replayed_merge(mutation: Mutation | None = None) -> Stage:
    """A file that was missing when it was judged is there again, and its quarantined occurrence was replayed."""
    world = Deployment(mutation)
    model = Model(world)
    for slot in range(2):
        made = await upload(model, Kind.VALID, slot=slot)
    hidden = world.objects.buckets[RAW].keys.pop(made.occurrence.key)
    await world.drain(model)
    world.objects.buckets[RAW].keys[made.occurrence.key] = hidden
    world.request_replay([made.occurrence])
    model.replayed = True
    model.missed.add(made.serial)
    for queue in (PLAN, VALIDATE):
        await world.handle(queue, world.now_waiting(queue))
    return Stage(world, model, MERGE)


async def at_contradiction(mutation: Mutation | None = None) -> Stage:
    """One file was found good when it was announced and missing when a scan's segment was read."""
    world = Deployment(mutation)
    model = Model(world)
    made = await upload(model, Kind.VALID)
    announced = world.now_waiting(VALIDATE)
    world.request_scan()
    await world.handle(PLAN, world.now_waiting(PLAN))
    await world.handle(VALIDATE, announced)
    hidden = world.objects.buckets[RAW].keys.pop(made.occurrence.key)
    await world.handle(VALIDATE, world.now_waiting(VALIDATE))
    world.objects.buckets[RAW].keys[made.occurrence.key] = hidden
    model.missed.add(made.serial)
    return Stage(world, model, MERGE)


Arrange = Callable[[Mutation | None], Awaitable[Stage]]
STAGES: Mapping[str, Arrange] = {
    "validate": at_validation,
    "merge": at_merge,
    "second-merge": at_second_merge,
    "plan": at_plan,
    "empty-plan": at_empty_plan,
    "planned-validate": at_planned_validation,
    "planned-merge": at_planned_merge,
    "later-plan": at_later_plan,
    "later-merge": at_later_merge,
    "restore": at_restore,
    "restore-among-restores": at_restore_among_restores,
    "restore-undone": at_restore_of_an_undone_version,
    "recovery": at_recovery,
    "replayed-merge": at_replayed_merge,
}


async def exchanges(stage: Stage) -> int:
    """How many exchanges the service needs for the batch when nothing goes wrong."""
    line = Line()
    await stage.strike(line)
    return line.exchanges
