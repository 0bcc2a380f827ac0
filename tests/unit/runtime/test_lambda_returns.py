"""When messages come again that failed in a Lambda function."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from services.runtime.deliveries import BatchHandler, Delivery, Outcome
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.shells.lambda_batch import LambdaBatch
from services.runtime.shells.returning import Returns
from services.runtime.telemetry import configure_logging
from tests.fakes.queues import FakeQueues

QUEUE = "tidegate-plan-requests"
Judge = Callable[[Delivery], Outcome]


@dataclass
class Deployed:
    """A function over a use case that judges every delivery, and the queue behind it."""

    queues: FakeQueues
    function: LambdaBatch[BatchHandler]

    @classmethod
    def of(cls, judge: Judge, **queues: Any) -> "Deployed":
        """A function; its queue holds twelve messages."""
        found = FakeQueues({QUEUE: {f"receipt-{number}" for number in range(12)}}, **queues)

        async def handle(deliveries: Sequence[Delivery]) -> Outcome:
            outcome = Outcome()
            for delivery in deliveries:
                judged = judge(delivery)
                outcome.delays |= judged.delays
                outcome.reasons |= judged.reasons
            return outcome

        @asynccontextmanager
        async def build() -> AsyncIterator[BatchHandler]:
            yield handle

        return cls(found, LambdaBatch(build, environ={}, returns=Returns(found.connect)))

    def invoke(self, *receives: int, queue: str = QUEUE) -> list[str]:
        """Hand over messages that were received so often; the ids of those that failed."""
        records = [record(number, count, queue) for number, count in enumerate(receives)]
        answer = self.function({"Records": records}, None)
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def record(number: int, receives: int, queue: str) -> dict[str, Any]:
    """One record of an event source mapping."""
    return {
        "messageId": f"id-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-2:123456789012:{queue}",
    }


def failing(delay: float | None) -> Judge:
    """Fails everything with one delay."""

    def judge(delivery: Delivery) -> Outcome:
        outcome = Outcome()
        outcome.fail([delivery.id], "as told", delay=delay)
        return outcome

    return judge


def raising(error: Exception) -> Judge:
    """Breaks off."""

    def judge(_: Delivery) -> Outcome:
        raise error

    return judge


@pytest.mark.parametrize(("delay", "seconds"), [(0.0, 0), (0.2, 1), (30.0, 30), (1e9, 43_200)])
def test_a_snoozed_message_comes_again_after_its_delay(delay: float, seconds: int) -> None:
    """Rounded up to whole seconds, and at most as long as SQS hides a message."""
    deployed = Deployed.of(failing(delay))
    assert deployed.invoke(1) == ["id-0"]
    assert deployed.queues.hidden_s == {"receipt-0": seconds}


def test_a_message_without_a_delay_backs_off_as_a_worker_s_does() -> None:
    """Twice as long after each receive, five minutes at most; more than ten messages take two requests."""
    deployed = Deployed.of(failing(None))
    assert len(deployed.invoke(*range(1, 13))) == 12
    assert list(deployed.queues.hidden_s.values()) == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


def test_what_is_done_is_left_alone() -> None:
    """Nothing is asked of SQS for messages that succeed, nor is a client opened for them."""
    deployed = Deployed.of(lambda delivery: failing(7.0)(delivery) if delivery.receives > 1 else Outcome())
    assert deployed.invoke(1, 1) == []
    assert deployed.queues.connected == 0
    assert deployed.invoke(1, 2, 1) == deployed.invoke(1, 2, 1) == ["id-1"]
    assert (deployed.queues.connected, deployed.queues.hidden_s) == (1, {"receipt-1": 7})


@pytest.mark.parametrize(("error", "seconds"), [(TemporaryError("not now", delay=9.0), 9), (PermanentError("no"), 8)])
def test_a_batch_that_breaks_off_comes_again_as_soon(error: Exception, seconds: int) -> None:
    """The invocation fails, and its messages come again after the error's delay, or later with each receive."""
    deployed = Deployed.of(raising(error))
    with pytest.raises(type(error), match=str(error)):
        deployed.invoke(3, 3)
    assert deployed.queues.hidden_s == {"receipt-0": seconds, "receipt-1": seconds}


@pytest.mark.parametrize("trouble", [{"refuses": "AccessDenied"}, {"refuses": "ServiceUnavailable"}, {"silent": True}])
def test_trouble_with_the_queue_is_logged_and_harmless(trouble: dict[str, Any]) -> None:
    """The answer still names what failed; the message comes again when its visibility ends."""
    deployed = Deployed.of(failing(5.0), **trouble)
    with capture_logs() as lines:
        assert deployed.invoke(1, 1) == ["id-0", "id-1"]
    (line,) = lines
    assert (line["event"], line["log_level"], line["messages"]) == ("visibility not changed", "warning", 2)
    assert deployed.queues.hidden_s == {}


def test_a_message_that_somebody_else_holds_by_now_keeps_nobody_up() -> None:
    """SQS refuses one receipt and takes the others."""
    deployed = Deployed.of(failing(5.0))
    deployed.queues.held[QUEUE].remove("receipt-0")
    assert deployed.invoke(1, 1) == ["id-0", "id-1"]
    assert deployed.queues.hidden_s == {"receipt-1": 5}


def test_the_trouble_of_an_error_does_not_hide_the_error() -> None:
    """Where SQS refuses too, the invocation still fails for its own reason."""
    deployed = Deployed.of(raising(PermanentError("the cause")), refuses="AccessDenied")
    with pytest.raises(PermanentError, match="the cause"):
        deployed.invoke(1)


def test_every_line_of_every_invocation_names_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    """The name is the container's, and not among the ids that end with an invocation."""
    before = structlog.get_config()
    log = structlog.get_logger()

    async def handle(_: Sequence[Delivery]) -> Outcome:
        log.info("handled")
        return Outcome()

    @asynccontextmanager
    async def build() -> AsyncIterator[BatchHandler]:
        configure_logging("planner")
        yield handle

    function = LambdaBatch(build, environ={})
    try:
        for _ in range(3):
            function({"Records": [record(0, 1, QUEUE)]}, None)
    finally:
        structlog.configure(**before)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["service"] for line in lines] == ["planner"] * 3
