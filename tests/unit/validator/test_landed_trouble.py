"""Segments of loads in trouble: dying validators, redeliveries, runs that are over, and requests that make no sense."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.runs import RunMode, RunState
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import BadDeclarationError
from services.validator.use_case import validate_batch
from services.validator.use_case.landed import validate_landed
from services.validator.use_case.requests import read_requests
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.event_log_world import notification
from tests.unit.validator.landed_rows import RUN, landing_file, order, payment
from tests.unit.validator.landed_world import PAYMENTS, World, command, key_of

ROWS = [order(1), order(2)]


async def typed(world: World) -> str:
    """A landing file that is in order."""
    await world.plan()
    return notification("raw", await world.put(landing_file(ROWS)))


async def faulty(world: World) -> str:
    """A landing file with a key that is there twice."""
    await world.plan()
    return notification("raw", await world.put(landing_file([order(1), order(1)])))


async def records(world: World) -> str:
    """Records that are in order, with a member that nobody knows."""
    await world.plan(PAYMENTS)
    return notification("raw", await world.put_records([payment(new=1), payment("p2")]))


async def bad_records(world: World) -> str:
    """Records of which one is none."""
    await world.plan(PAYMENTS)
    return notification("raw", await world.put_records([payment(new=1), b"no json"]))


Case = Callable[[World], Awaitable[str]]


@pytest.mark.parametrize("case", [typed, faulty, records, bad_records])
async def test_a_validator_that_dies_anywhere_is_finished_by_the_next(case: Case) -> None:
    """Killed before or after any of its effects: the redelivery ends in the same objects and the same ledger."""
    calm = World()
    body = await case(calm)
    switch = KillSwitch()
    assert not (await calm.validate(body, effects=Effects(switch))).failed
    assert len(switch.places) >= 6
    for place in range(1, len(switch.places) + 1):
        world = World()
        body = await case(world)
        with pytest.raises(KilledError):
            await world.validate(body, effects=Effects(KillSwitch(place)))
        assert not (await world.validate(body, receives=2)).failed
        for bucket in ("validated", "quarantine"):
            assert world.contents(bucket) == calm.contents(bucket)
        assert world.ledger.table.segments == calm.ledger.table.segments
        assert world.ledger.table.runs == calm.ledger.table.runs
        assert {each.kind for each in world.publisher.announced()} == {e.kind for e in calm.publisher.announced()}


@pytest.mark.parametrize(
    ("case", "effects"),
    [
        (
            records,
            [
                "observe shop.payments#payments new",
                "announce SchemaDrifted",
                f"fetched segment {RUN}/s1",
                f"put s3://validated/shop.payments/{RUN}/s1.land",
                f"put s3://validated/shop.payments/{RUN}/s1.json",
                f"validated segment {RUN}/s1",
            ],
        ),
        (
            bad_records,
            [
                "observe shop.payments#payments new",
                "announce SchemaDrifted",
                f"fetched segment {RUN}/s1",
                f"put s3://quarantine/shop.payments/{RUN}/s1.ndjson",
                f"finish run {RUN} as failed",
                "announce RunFailed",
            ],
        ),
    ],
)
async def test_rows_are_there_before_anything_is_said_of_them(case: Case, effects: list[str]) -> None:
    """What is said of a segment makes the merger look for its rows; a run fails once its bad records can be seen."""
    world, done = World(), Effects()
    await world.validate(await case(world), effects=done)
    assert done.performed == effects


async def test_a_repetition_leaves_the_rows_that_are_there() -> None:
    """They are pinned by their ETag, which writing the same bytes again may change."""
    world = World()
    body = await records(world)
    for _ in range(3):
        assert not (await world.validate(body)).failed
    written = [info.key.rpartition(".")[2] for bucket, info in world.objects.puts if bucket == "validated"]
    assert written == ["land", "json", "json", "json"]


async def test_other_rows_that_lie_in_the_way_are_replaced() -> None:
    """Another version of the validator may have packed them otherwise; what is said must fit what is there."""
    world = World()
    body = await records(world)
    await world.objects.put("validated", f"shop.payments/{RUN}/s1.land", b"old")
    assert not (await world.validate(body)).failed
    assert len(world.rows(world.segment(f"shop.payments/{RUN}/s1"))) == 2


async def test_the_same_object_announced_and_commanded_is_validated_once() -> None:
    """S3 delivers an event twice now and then, and a planner asks again for what seems stranded."""
    world = World()
    event = await typed(world)
    assert not (await world.validate(event, command(), event)).failed
    assert [info.key for bucket, info in world.objects.puts if bucket == "validated"] == [f"shop.orders/{RUN}/s1.json"]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.SUCCEEDED])
@pytest.mark.parametrize("case", [typed, bad_records])
async def test_nothing_is_validated_for_a_run_that_is_over(state: RunState, case: Case) -> None:
    """The delivery is done with, and leaves no trace."""
    world = World()
    body = await case(world)
    await world.ledger.finish_run(RUN, state, reason="no space")
    before = dict(world.ledger.table.segments)
    assert not (await world.validate(body)).failed
    assert not world.contents("validated")
    assert not world.contents("quarantine")
    assert world.ledger.table.segments == before
    assert not world.publisher.announced()


async def test_one_bad_segment_does_not_hold_up_the_others_of_a_batch() -> None:
    """Each delivery comes to its own end: passed on, refused, failed."""
    world = World()
    await world.plan(segments="123")
    await world.plan(PAYMENTS, run_id="run-1.payments")
    events = []
    for number, rows in (("1", ROWS), ("2", [order(3)]), ("3", [order(5)])):
        body = landing_file(rows, segment_id=f"s{number}")
        body = body[:-1] if number == "2" else body
        info = await world.put(body, rows=len(rows), key=key_of(segment_id=f"s{number}"))
        events.append(notification("raw", info))
    events.append(notification("raw", await world.put_records([b"bad"], run_id="run-1.payments")))
    outcome = await world.validate(*events)
    assert list(outcome.failed) == ["1"]
    assert sorted(world.contents("validated")) == [f"shop.orders/{RUN}/s1.json", f"shop.orders/{RUN}/s3.json"]
    run = await world.ledger.run("run-1.payments")
    assert run is not None
    assert run.state is RunState.FAILED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (command(key_of(run_id="run-2.orders")), f"is not segment s1 of run {RUN}"),
        (command(key_of(segment_id="s2")), f"is not segment s1 of run {RUN}"),
        (command(key_of(PAYMENTS)), "is not the key of a raw object of pipeline shop.orders"),
        (command(key_of().replace(".land", ".json.gz")), "is not the key of a raw object of pipeline shop.orders"),
        (
            command(key_of(PAYMENTS).replace(".json.gz", ".land"), PAYMENTS),
            "is not the key of a raw object of pipeline",
        ),
        (command(pipeline=PAYMENTS), key_of(PAYMENTS)),
    ],
)
async def test_a_command_that_cannot_be_carried_out_goes_back_alone(body: str, reason: str) -> None:
    """With one line that says why; the others of its batch are validated."""
    world = World()
    event = await typed(world)
    outcome = await world.validate(body, event)
    assert list(outcome.failed) == ["0"]
    assert reason in outcome.reasons["0"]
    assert list(world.contents("validated")) == [f"shop.orders/{RUN}/s1.json"]


async def test_a_replay_fails_with_what_to_do_instead() -> None:
    """A load reads its source anew, so there is nothing that judging an old object again would add."""
    world = World()
    await world.plan(PAYMENTS, RunMode.REPLAY, run_id="replay-1")
    await world.put_records([payment()])
    body = command(key_of(PAYMENTS), PAYMENTS, "replay-1", replay=True)
    assert not (await world.validate(body)).failed
    assert await world.failed("replay-1") == (
        "raw objects of shop.payments are not judged again:"
        " run shop.payments again, which reads what is wanted from its source"
    )
    outcome = await world.validate(command(key_of(PAYMENTS), PAYMENTS, "unknown", replay=True))
    assert "run shop.payments again" in outcome.reasons["0"]


async def test_access_denied_fails_the_run_that_cannot_go_on() -> None:
    """An operator must act; nobody waits for the segment any more."""
    world = World()
    body = await typed(world)
    world.objects.buckets["raw"].denied = True
    assert not (await world.validate(body)).failed
    assert await world.failed() == "bucket raw is denied"


async def test_a_failure_is_told_again_whichever_delivery_comes_back() -> None:
    """An object is announced and commanded; that one of both was handed out before may mean that its holder died."""
    world = World()
    body = await faulty(world)
    await world.validate(body)
    batch = [Delivery("0", body), Delivery("1", command(), receives=2)]
    assert not (await validate_batch(world.ports(), batch)).failed
    assert [message.kind for message in world.publisher.announced()] == ["RunFailed", "RunFailed"]
    assert not (await world.validate(body, command())).failed
    assert len(world.publisher.announced()) == 2


async def test_a_validator_without_a_place_for_loads_says_so() -> None:
    """Rather than to take what it cannot do for done."""
    world = World()
    ports = world.ports()
    found = await read_requests(ports, [Delivery("0", await typed(world))], Outcome())
    object.__setattr__(ports, "landed", None)
    with pytest.raises(BadDeclarationError, match="nowhere to keep"):
        await validate_landed(ports, found[0])  # type: ignore[arg-type]
