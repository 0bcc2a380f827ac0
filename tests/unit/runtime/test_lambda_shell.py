"""The Lambda shell, called as the Lambda service calls it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import MalformedError
from services.runtime.shells.lambda_batch import LambdaBatch, read_batch
from services.runtime.tracing import own_trace


@dataclass
class UseCase:
    """A use case that fails the bodies it is told to, and remembers how it was opened and called."""

    failing: frozenset[str] = frozenset()
    error: Exception | None = None
    refuses_to_open: int = 0
    opened: int = 0
    closed: int = 0
    loops: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    seen: list[Delivery] = field(default_factory=list)

    @asynccontextmanager
    async def build(self) -> AsyncIterator["UseCase"]:
        """Open it."""
        self.opened += 1
        if self.opened <= self.refuses_to_open:
            raise ConnectionError("not yet")
        yield self
        self.closed += 1

    async def __call__(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Handle a batch."""
        self.loops.append(asyncio.get_running_loop())
        self.seen += deliveries
        if self.error is not None:
            raise self.error
        outcome = Outcome()
        for delivery in deliveries:
            if delivery.body in self.failing:
                outcome.fail([delivery.id], "as told", delay=3.0)
        return outcome


def record(name: str, body: Any, **changes: Any) -> dict[str, Any]:
    """One record of an event source mapping, with everything that AWS puts into it."""
    return {
        "messageId": name,
        "receiptHandle": "",  # what becomes of failed messages is another test's matter
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:tidegate-validate-objects",
        "awsRegion": "us-east-2",
        **changes,
    }


def test_exactly_the_failed_records_come_again() -> None:
    """The partial batch response names the failed records and no other."""
    handler = LambdaBatch(UseCase(failing=frozenset({"b", "d"})).build)
    event = {"Records": [record(f"id-{body}", body) for body in "abcde"]}
    assert handler(event, None) == {"batchItemFailures": [{"itemIdentifier": "id-b"}, {"itemIdentifier": "id-d"}]}


def test_a_good_batch_has_no_failures_and_a_bad_one_has_them_all() -> None:
    """Also when everything failed the response names the records; the invocation itself succeeds."""
    event = {"Records": [record("1", "a"), record("2", "b")]}
    assert LambdaBatch(UseCase().build)(event, None) == {"batchItemFailures": []}
    all_bad = LambdaBatch(UseCase(failing=frozenset("ab")).build)(event, None)
    assert all_bad == {"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "2"}]}


def test_a_record_is_read_as_sqs_sends_it() -> None:
    """Id, body and receive count reach the use case; without a count it is the first receive."""
    use_case = UseCase()
    LambdaBatch(use_case.build)({"Records": [record("1", "a"), record("2", "", attributes={})]}, None)
    assert use_case.seen == [Delivery("1", "a", receives=3), Delivery("2", "", receives=1)]


def test_what_sqs_says_of_a_record_is_kept() -> None:
    """When it was sent, through which queue and in which trace; without these there is nothing to report."""
    traced = {"SentTimestamp": "1545082649183", "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    first, second = read_batch({"Records": [record("1", "a", attributes=traced), record("2", "b", attributes={})]})
    assert first.sent_at == datetime(2018, 12, 17, 21, 37, 29, 183_000, tzinfo=UTC)
    assert (first.queue, first.trace) == ("tidegate-validate-objects", traced["AWSTraceHeader"])
    assert (second.sent_at, second.trace) == (None, None)


@dataclass
class Invocation:
    """The part of a Lambda context that is used."""

    aws_request_id: str


def test_log_lines_name_the_invocation() -> None:
    """Its request and its trace while it lasts; the next one of the same container names its own, or none."""
    seen: list[dict[str, Any]] = []

    class Speaking(UseCase):
        async def __call__(self, deliveries: Sequence[Delivery]) -> Outcome:
            trace = own_trace()
            seen.append({**get_contextvars(), "own": trace and trace.root})
            return await super().__call__(deliveries)

    root = "1-5759e988-bd862e3fe1be46a994272793"
    environ = {"_X_AMZN_TRACE_ID": f"Root={root};Parent=53995c3f42cd8ad8;Sampled=1"}
    handler = LambdaBatch(Speaking().build, environ=environ)
    event = {"Records": [record("1", "a")]}
    handler(event, Invocation("request-1"))
    environ.clear()
    handler(event, Invocation("request-2"))
    handler(event, None)
    assert seen == [
        {"aws_request_id": "request-1", "xray_trace_id": root, "own": root},
        {"aws_request_id": "request-2", "own": None},
        {"own": None},
    ]
    assert get_contextvars() == {}


@pytest.mark.parametrize(
    "event",
    [
        None,
        "text",
        [],
        {},
        {"source_bucket": "raw", "checkpoint_bucket": "out"},
        {"Records": None},
        {"Records": []},
        {"Records": {"0": record("1", "a")}},
        {"Records": [record("1", "a", eventSource="aws:s3")]},
        {"Records": [record("1", "a"), record("2", "b", eventSource="aws:sns")]},
        {"Records": [{k: v for k, v in record("1", "a").items() if k != "eventSource"}]},
        {"Records": [{k: v for k, v in record("1", "a").items() if k != "body"}]},
        {"Records": [{k: v for k, v in record("1", "a").items() if k != "messageId"}]},
        {"Records": [record("1", None)]},
        {"Records": [record("1", {"kind": "PlanRun"})]},
        {"Records": [record("1", "a", attributes=None)]},
        {"Records": [record("1", "a", attributes={"ApproximateReceiveCount": "often"})]},
        {"Records": ["text"]},
        {"Records": [None]},
    ],
)
def test_what_is_no_sqs_batch_fails_closed(event: Any) -> None:
    """An event of any other shape fails the invocation before anything is handled; nothing counts as done."""
    use_case = UseCase()
    with pytest.raises(MalformedError, match="not an SQS batch"):
        LambdaBatch(use_case.build)(event, None)
    assert (use_case.opened, use_case.seen) == (0, [])


def test_an_error_of_the_use_case_fails_the_invocation() -> None:
    """Then SQS brings the whole batch again; the next invocation works."""
    use_case = UseCase(error=RuntimeError("a defect"))
    handler = LambdaBatch(use_case.build)
    event = {"Records": [record("1", "a")]}
    with pytest.raises(RuntimeError, match="a defect"):
        handler(event, None)
    use_case.error = None
    assert handler(event, None) == {"batchItemFailures": []}
    assert use_case.opened == 1


def test_one_loop_and_one_opening_serve_the_container() -> None:
    """The AWS clients belong to the loop that opened them: both stay for every invocation, and stay open."""
    use_case = UseCase()
    handler = LambdaBatch(use_case.build)
    for name in ("1", "2", "3"):
        handler({"Records": [record(name, "a")]}, None)
    assert len({id(loop) for loop in use_case.loops}) == 1
    assert (use_case.opened, use_case.closed, len(use_case.seen)) == (1, 0, 3)


def test_an_opening_that_failed_is_tried_again() -> None:
    """A container whose first invocation could not open the use case is not lost for ever."""
    use_case = UseCase(refuses_to_open=1)
    handler = LambdaBatch(use_case.build)
    event = {"Records": [record("1", "a")]}
    with pytest.raises(ConnectionError):
        handler(event, None)
    assert handler(event, None) == {"batchItemFailures": []}
    assert use_case.opened == 2
