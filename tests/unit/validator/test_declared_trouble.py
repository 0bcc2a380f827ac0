"""Fetched raw objects in trouble: broken objects, dying validators, refusals, and commands that make no sense."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from contracts.envelope import ClaimCheck, Message
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import OccurrenceList, ValidateSegment
from services.runtime.deliveries import Delivery
from services.runtime.failures import AccessDeniedError, TemporaryError, TidegateError
from services.validator.use_case import validate_batch
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.validator.declared_world import World, command, key_of, row


@pytest.mark.parametrize(
    ("spoil", "rows", "reason"),
    [
        (lambda body: body[:-5], "2", "it is not whole gzip data"),
        (lambda body: body[:20] + b"\0\0\0\0" + body[24:], "2", "it is not whole gzip data"),
        (lambda _: b"plain text", "2", "it is not whole gzip data"),
        (lambda body: body, "3", "has 2 rows, and its tidegate-rows is '3'"),
        (lambda body: body, "", "has 2 rows, and its tidegate-rows is ''"),
        (lambda body: body + gzip.compress(b"{}\n"), "2", "has 3 rows, and its tidegate-rows is '2'"),
    ],
)
async def test_an_object_that_is_not_whole_writes_nothing(
    spoil: Callable[[bytes], bytes], rows: str, reason: str
) -> None:
    """The message goes back with the object's name, and in the end to the dead-letter queue."""
    world = World()
    await world.plan()
    body = spoil(gzip.compress(row("1") + b"\n" + b"no json\n"))
    await world.fetched([], body=body, rows=rows)
    outcome = await world.validate([command()])
    assert list(outcome.failed) == ["0"]
    assert reason in outcome.reasons["0"]
    assert f"s3://raw/{key_of('run-1')}" in outcome.reasons["0"]
    assert not world.segments()
    assert not world.quarantined()


async def test_a_run_that_the_ledger_lost_is_opened_again() -> None:
    """Its rows are not lost with it."""
    world = World()
    await world.fetched([row("1")])
    assert not (await world.validate([command()])).failed
    run = await world.ledger.run("run-1")
    assert run is not None
    assert (run.mode, run.state, run.planned) == (RunMode.INCREMENTAL, RunState.RUNNING, None)


async def test_a_validator_that_dies_anywhere_is_finished_by_the_next() -> None:
    """Killed before or after any of its effects: the redelivery ends in the same objects and the same ledger."""
    lines = [row("1", new=1), row("2", month=2), row("3", month=3), b"no json"]
    calm = World()
    await calm.plan()
    await calm.fetched(lines)
    switch = KillSwitch()
    await calm.validate([command()], Effects(switch))
    assert len(switch.places) > 20
    for place in range(1, len(switch.places) + 1):
        world = World()
        await world.plan()
        await world.fetched(lines)
        with pytest.raises(KilledError):
            await world.validate([command()], Effects(KillSwitch(place)))
        assert not (await world.validate([command()])).failed
        for bucket in ("validated", "quarantine"):
            assert contents(world, bucket) == contents(calm, bucket)
        assert world.ledger.table.segments == calm.ledger.table.segments
        assert world.schemas.seen == calm.schemas.seen
        assert "SchemaDrifted" in {message.kind for message in world.publisher.announced()}


def contents(world: World, bucket: str) -> dict[str, bytes]:
    """The bytes of every object."""
    found = world.objects.buckets[bucket].keys
    return {key: versions[-1].body for key, versions in found.items() if versions[-1] is not None}


async def test_access_denied_fails_the_run_that_cannot_go_on() -> None:
    """An operator must act; the segments of other runs are not held up."""
    world = World()
    await world.plan()
    await world.fetched([row("1")])
    world.objects.buckets["raw"].denied = True
    assert not (await world.validate([command()])).failed
    run = await world.ledger.run("run-1")
    assert run is not None
    assert (run.state, run.reason) == (RunState.FAILED, "bucket raw is denied")
    assert [message.kind for message in world.publisher.announced()] == ["RunFailed"]
    assert list((await world.validate([command("run-2")])).failed) == ["0"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (command(key="raw/2025/03/01/calls/run-1.json.gz"), "is not the key of a raw object of pipeline calls"),
        (command(key=key_of("run-1", "texts")), "is not the key of a raw object of pipeline calls"),
        (command(pipeline="unknown"), "there is no pipeline 'unknown' here"),
        (command("gone"), f"s3://raw/{key_of('gone')}"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_goes_back_alone(body: str, reason: str) -> None:
    """With one line that says why; the others of its batch are validated."""
    world = World()
    await world.plan()
    await world.fetched([row("1")])
    outcome = await world.validate([body, command()])
    assert list(outcome.failed) == ["0"]
    assert reason in outcome.reasons["0"]
    assert list(world.segments()) == ["calls/run-1/000.parquet"]


async def test_a_refusal_that_cannot_be_told_comes_back_alone() -> None:
    """A ledger that is busy while a run is to fail holds up that run's message, and no other."""
    world = World()
    for run_id in ("run-1", "run-2"):
        await world.plan(run_id)
    await world.fetched([row("1")], run_id="run-2")
    world.objects.buckets["raw"].denied = True

    def busy(place: str) -> None:
        if place == "before finish run run-1 as failed":
            raise TemporaryError("the ledger is busy", delay=7)

    outcome = await world.validate([command("run-1"), command("run-2")], Effects(busy))
    assert outcome.failed == {"0": 7}
    assert outcome.reasons == {"0": "the ledger is busy"}
    run = await world.ledger.run("run-2")
    assert run is not None
    assert run.state is RunState.FAILED


class NoClaims:
    """Lists of objects that cannot be had."""

    def __init__(self, error: TidegateError) -> None:
        self._error = error

    async def occurrences(self, claim: ClaimCheck) -> OccurrenceList:
        """See ``Claims``."""
        assert claim.key == "plans/1.json"
        raise self._error


@pytest.mark.parametrize(
    ("error", "delay"), [(AccessDeniedError("denied"), None), (TemporaryError("out of reach", delay=3), 3)]
)
async def test_a_plan_that_cannot_be_read_comes_back_alone(error: TidegateError, delay: float | None) -> None:
    """Whether its list of objects is denied or just out of reach: the rest of the batch is validated."""
    world = World()
    await world.validated([row("1")])
    uploads = Pipeline.parse(
        {
            "name": "uploads",
            "entity": "events",
            "record": "visit_event",
            "source": {"kind": "objects", "prefix": "up/", "key_patterns": ["log-.+"]},
            "target": {"kind": "checkpoint", "key": "checkpoints/events.parquet", "order_by": "timestamp"},
        },
        where="uploads.toml",
    )
    claim = ClaimCheck(bucket="quarantine", key="plans/1.json", sha256="0" * 64, size=2)
    asked = ValidateSegment(pipeline="uploads", run_id="run-3", segment_id="000", occurrences=claim)
    body = Message.wrap(asked, message_id=UUID(int=3), run_id="run-3", occurred_at=world.clock.now()).model_dump_json()

    ports = world.ports()
    ports = replace(ports, pipelines={**ports.pipelines, "uploads": uploads}, claims=NoClaims(error))
    outcome = await validate_batch(ports, [Delivery("plan", body), Delivery("rows", command())])
    assert outcome.failed == {"plan": delay}
    assert outcome.reasons == {"plan": str(error)}
