"""Loads when something is in their way: other runs, sources that refuse or do not answer, changed columns, deaths."""

import pytest

from contracts.fields import EntityField
from contracts.runs import LoadType, RunMode, RunState
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.leases import FakeLeases
from tests.unit.planner.landing import CHANGED, FETCH, ID, NOTE, ORDERS, World, request

OLD = "2025-12-31T10:00:00.000000"
PATIENCE = 10


async def test_a_load_waits_for_the_one_before_it() -> None:
    """Of the same entity; the load itself is not kept waiting, and no longer than a run may take."""
    world = World()
    world.orders.rows = [(OLD, "a")]
    await world.plan("first")
    outcome = await world.deliver(request("second"))
    assert (outcome.delays, outcome.reasons) == ({"d": 15.0}, {"d": "run first of shop.orders has not ended yet"})
    assert "second" not in world.ledger.table.runs
    assert not (await world.deliver(request("first"))).failed
    world.clock.advance(900)
    assert not (await world.deliver(request("second"))).failed


async def test_a_long_load_that_gets_on_is_waited_for() -> None:
    """As long as one of its segments took a step lately; a load that stands still is not."""
    world = World()
    world.orders.rows = [(OLD, f"{n:02}") for n in range(25)]
    plan = await world.plan("first", LoadType.FULL)
    for planned in plan.slices:
        world.clock.advance(800)
        await world.ledger.segment_fetched("first", planned.segment_id, 10, "raw/x.land")
        assert (await world.deliver(request("second"))).failed
    world.clock.advance(899)
    assert (await world.deliver(request("second"))).failed
    world.clock.advance(1)
    assert not (await world.deliver(request("second"))).failed


async def test_waiting_ends() -> None:
    """Before the queue gives the request up, its run fails and says what it waited for."""
    world = World()
    world.orders.rows = [(OLD, "a")]
    await world.plan("first")
    assert (await world.deliver(request("second"), receives=16)).failed
    assert not (await world.deliver(request("second", parent="g"), receives=17)).failed
    run = world.ended("second")
    assert (run.state, run.parent) == (RunState.FAILED, "g")
    assert run.reason == "run first of shop.orders has not ended yet (asked 17 times)"


@pytest.mark.parametrize("load_type", LoadType)
async def test_every_kind_of_load_waits(load_type: LoadType) -> None:
    """Full loads and sweeps of keys take turns like all others, on either side."""
    world = World()
    await world.run("before")
    world.clock.advance(60)
    world.orders.rows = [("2026-01-01T00:00:30.000000", "a")]
    await world.plan("first", load_type)
    for other in LoadType:
        assert (await world.deliver(request("second", other))).failed


async def test_planning_is_one_at_a_time() -> None:
    """Whoever holds the entity's lease keeps others waiting, but not for its whole life."""
    world = World()
    await FakeLeases(world.clock, world.leases).acquire("plan:shop.orders", "other", 60)
    assert (await world.deliver(request("r"))).delays == {"d": 15.0}
    world.clock.advance(61)
    assert not (await world.deliver(request("r"))).failed


@pytest.mark.parametrize("question", ["describe", "ceiling", "cut"])
async def test_a_source_that_refuses_fails_its_entity(question: str) -> None:
    """At once, with the source's words; a repetition announces the same failure."""
    world = World()
    world.orders.trouble[question] = PermanentError("there is no table public.orders in database shop")
    for _ in range(2):
        assert not (await world.deliver(request("r1"))).failed
    run = world.ended("r1")
    assert (run.state, run.reason) == (RunState.FAILED, "there is no table public.orders in database shop")
    assert [fact["reason"] for fact in world.facts("RunFailed")] == [run.reason]
    assert (world.cursor(), world.schemas.versions) == (None, {})


async def test_an_unset_variable_fails_its_entity() -> None:
    """Only what needs the variable fails, with its name."""
    world = World()
    del world.tables[ORDERS]
    assert not (await world.deliver(request("r1"))).failed
    assert world.ended("r1").reason == "source.secret needs SOME_VARIABLE, which is not set"


@pytest.mark.parametrize("question", ["describe", "ceiling", "cut"])
async def test_a_source_that_does_not_answer_is_asked_again(question: str) -> None:
    """As often as patience says; then the entity fails, so that the others' run can end."""
    world = World()
    world.orders.trouble[question] = TemporaryError("connect to db:5432/shop: refused", delay=15)
    for receives in range(1, PATIENCE):
        outcome = await world.deliver(request("r1"), receives=receives)
        assert outcome.delays == {"d": 15}
        assert world.ended("r1").state is RunState.PLANNING
    assert not (await world.deliver(request("r1"), receives=PATIENCE)).failed
    assert world.ended("r1").reason == "connect to db:5432/shop: refused (asked 10 times)"


async def test_waiting_for_ones_turn_is_not_the_sources_fault() -> None:
    """A request that waited long for another run asks a source that is out for a moment more than once."""
    world = World()
    world.orders.trouble["describe"] = TemporaryError("refused")
    assert (await world.deliver(request("r1"), receives=12)).failed
    world.orders.trouble.clear()
    assert not (await world.deliver(request("r1"), receives=13)).failed
    assert world.ended("r1").state is RunState.RUNNING


async def test_a_source_that_answers_again_goes_on() -> None:
    """The run that was opened by the first try is planned by the next."""
    world = World()
    world.orders.trouble["ceiling"] = TemporaryError("refused")
    assert (await world.deliver(request("r1"))).failed
    world.orders.trouble.clear()
    world.clock.advance(30)
    plan = await world.plan("r1")
    assert plan.started_at == "2026-01-01T00:00:00+00:00"


async def test_a_replay_is_refused() -> None:
    """A load is not judged again: running it reads its source anew."""
    outcome = await World().deliver(request("r1", mode=RunMode.REPLAY))
    assert outcome.reasons == {"d": "shop.orders: a load is not replayed; run it again, it reads its source anew"}


async def test_new_and_dropped_and_wider_columns_are_announced() -> None:
    """The load goes on with the columns as they are; the next one finds nothing new in them."""
    world = World()
    world.orders.fields = [ID, NOTE, CHANGED]
    await world.run("r1")
    assert world.facts("SchemaChanged") == []
    world.clock.advance(60)
    wide, amount = ID.model_copy(update={"type": "int64"}), EntityField(name="amount", type="decimal(12,2)")
    world.orders.fields = [wide, CHANGED, amount]
    plan = await world.run("r2")
    assert (plan.schema_version, plan.fields) == (2, [wide, CHANGED, amount])
    fact = {"pipeline": ORDERS, "run_id": "r2", "version": 2}
    changed = [fact | {"added": ["amount"], "widened": ["id"], "dropped": ["note"]}]
    assert world.facts("SchemaChanged") == changed
    world.clock.advance(60)
    assert (await world.run("r3")).schema_version == 2
    assert world.facts("SchemaChanged") == changed


async def test_an_incompatible_column_needs_a_full_load() -> None:
    """The entity fails and says what to do; the full load is a new beginning."""
    world = World()
    world.orders.fields = [ID, NOTE, CHANGED]
    await world.run("r1")
    world.clock.advance(60)
    world.orders.fields = [ID, EntityField(name="note", type="int32", source_type="integer"), CHANGED]
    await world.deliver(request("r2"))
    assert world.ended("r2").reason == (
        "column 'note' was string (text) and is int32 (integer): the new type cannot hold every old value;"
        ' a full load begins anew with the columns as they are: {"load_type": "FULL"}'
    )
    assert (await world.run("keys", LoadType.KEYS)).schema_version == 1
    assert (await world.run("r3", LoadType.FULL)).schema_version == 2
    assert [(fact["added"], fact["dropped"]) for fact in world.facts("SchemaChanged")] == [(["note"], ["note"])]


async def test_a_lost_ledger_proves_nothing() -> None:
    """A run that is opened anew keeps its plan, but moves no watermark."""
    world = World()
    world.orders.rows = [(OLD, "a")]
    kept = await world.plan("r1")
    world.ledger.table.runs.clear()
    world.ledger.table.segments.clear()
    world.clock.advance(60)
    assert await world.plan("r1") == kept
    await world.work()
    assert (world.ended("r1").state, world.cursor()) == (RunState.SUCCEEDED, None)


async def test_a_planner_that_dies_anywhere_is_continued() -> None:
    """Wherever it dies, its request makes the same load in the end, and what changed is announced."""

    async def started() -> World:
        world = World()
        await world.run("r1")
        world.clock.advance(60)
        world.orders.rows = [("2026-01-01T00:00:30.000000", f"{n:02}") for n in range(25)]
        world.orders.fields = [ID, CHANGED, NOTE]
        return world

    switch = KillSwitch()
    await (await started()).deliver(request("r2"), effects=Effects(switch))
    assert len(switch.places) > 20
    for place in range(1, len(switch.places) + 1):
        world = await started()
        with pytest.raises(KilledError):
            await world.deliver(request("r2"), effects=Effects(KillSwitch(place)))
        # Rows that come meanwhile belong to a plan that is made now, not to one that was kept.
        world.clock.advance(61)
        plan = await world.plan("r2")
        assert (len(plan.slices), plan.schema_version) == (3, 2)
        assert {command.segment_id for command in world.commands()} == {each.segment_id for each in plan.slices}
        await world.work()
        run: Run = world.ended("r2")
        assert (run.state, run.settled, world.cursor()) == (RunState.SUCCEEDED, 3, plan.frontier)
        assert [fact["added"] for fact in world.facts("SchemaChanged")] == [["note"]]
        assert world.publisher.sent[FETCH] == []


async def test_a_planner_that_dies_while_a_load_fails_is_continued() -> None:
    """The failure is in the ledger and announced, whatever was done of it."""

    async def started() -> World:
        world = World()
        world.orders.trouble["cut"] = PermanentError("no")
        return world

    switch = KillSwitch()
    await (await started()).deliver(request("r1"), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = await started()
        with pytest.raises(KilledError):
            await world.deliver(request("r1"), effects=Effects(KillSwitch(place)))
        world.clock.advance(61)
        assert not (await world.deliver(request("r1"))).failed
        assert (world.ended("r1").state, len(world.facts("RunFailed"))) == (RunState.FAILED, 1)
