"""Whose delivery a log line belongs to, and what a batch is measured by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from structlog.contextvars import get_contextvars

from contracts.envelope import Message
from contracts.runs import PlanRun
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.handling import handling, identify, measured, named
from services.runtime.telemetry import correlated
from services.runtime.tracing import Trace, carried_trace, invoked_in
from tests.fakes.clock import EPOCH, ManualClock
from tests.fakes.telemetry import FakeTelemetry, Point

TRACE = Trace("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", sampled=True)
OTHER = Trace("1-5759e989-bd862e3fe1be46a994272793")


@dataclass(frozen=True)
class Ports:
    """What measuring needs."""

    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    clock: ManualClock = field(default_factory=ManualClock)


def delivery(name: str = "m1", *, run_id: str = "r1", trace: Trace | None = None) -> Delivery:
    """A command as it arrives."""
    message = Message.wrap(
        PlanRun(pipeline="visits", run_id=run_id),
        message_id=uuid4(),
        run_id=run_id,
        occurred_at=EPOCH,
        trace=None if trace is None else trace.header,
    )
    return Delivery(name, message.model_dump_json())


def test_a_delivery_s_ids_are_on_every_line_of_its_block() -> None:
    """Also those of an envelope that nobody has opened yet; after the block only what was there before is left."""
    with correlated(aws_request_id="request", run_id="outer"):
        with handling(delivery(trace=TRACE)):
            identify(pipeline="visits")
            with correlated(segment_id="s1"):
                ids = get_contextvars()
        assert get_contextvars() == {"aws_request_id": "request", "run_id": "outer"}
    assert ids == {
        "aws_request_id": "request",
        "message_id": "m1",
        "kind": "PlanRun",
        "run_id": "r1",
        "dedup_id": PlanRun(pipeline="visits", run_id="r1").dedup_id(),
        "trace_id": TRACE.root,
        "pipeline": "visits",
        "segment_id": "s1",
    }


def test_deliveries_that_are_handled_together() -> None:
    """What they share is one id, what they do not is a list, and a long list is cut off with a count."""
    with handling(delivery("m1"), delivery("m2", run_id="r2")):
        ids = get_contextvars()
    assert (ids["message_id"], ids["run_id"], ids["kind"]) == (["m1", "m2"], ["r1", "r2"], "PlanRun")
    assert named(["a", "a"]) == "a"
    assert named([str(number) for number in range(12)])[9:] == ["9", "and 2 more"]


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "7", '"text"', '{"Records": []}', '{"dedup_id": 5, "run_id": {}, "trace": 7}', "[" * 9_999]
)
def test_bodies_that_are_no_message(body: str) -> None:
    """They have the ids of their delivery and a trace, and judging them is left to others."""
    with handling(Delivery("m1", body)):
        ids = get_contextvars()
    assert ids.keys() == {"message_id", "trace_id"}


def test_ids_of_strangers_stay_short() -> None:
    """A body is not trusted to be small."""
    with handling(Delivery("m1", json.dumps({"dedup_id": "d" * 10_000}))):
        assert len(get_contextvars()["dedup_id"]) == 512


def test_whose_trace_goes_on() -> None:
    """The message's own, else the one SQS was given, else the invocation's, else a new one."""
    by_sqs = Delivery("m1", "{}", trace=OTHER.header)
    with invoked_in(OTHER), handling(delivery(trace=TRACE)):
        assert carried_trace() == TRACE
    with invoked_in(TRACE), handling(by_sqs):
        assert carried_trace() == OTHER
    with invoked_in(TRACE), handling(delivery()):
        assert carried_trace() == TRACE
    with handling(delivery()):
        begun = carried_trace()
    assert begun is not None
    assert Trace.read(begun.header) == begun
    assert carried_trace() is None


async def test_a_batch_is_measured() -> None:
    """By the age of its oldest message, queue by queue; a clock that is behind makes no negative age."""
    ports = Ports()

    @measured
    async def handle(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
        ports.telemetry.metric("RowsIn", len(deliveries))
        return Outcome()

    now = ports.clock.now()
    ages = [("plans", 3.0), ("plans", 12.5), ("chunks", -2.0)]
    batch = [Delivery("m", "", sent_at=now - timedelta(seconds=age), queue=queue) for queue, age in ages]
    await handle(ports, [*batch, Delivery("m", "")])
    assert ports.telemetry.published == [
        Point("OldestMessageAge", 12.5, "Seconds", (("queue", "plans"),)),
        Point("OldestMessageAge", 0.0, "Seconds", (("queue", "chunks"),)),
        Point("RowsIn", 4, "Count"),
    ]


async def test_metrics_survive_a_defect() -> None:
    """What was counted before a batch failed is handed over all the same, and the error goes on."""
    ports = Ports()

    @measured
    async def handle(ports: Ports, _: Sequence[Delivery]) -> Outcome:
        ports.telemetry.metric("RowsIn", 1)
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await handle(ports, [])
    assert ports.telemetry.published == [Point("RowsIn", 1, "Count")]
