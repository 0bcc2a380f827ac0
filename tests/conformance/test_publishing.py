"""What every Publisher does, held against the fake and against SQS and SNS."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from contracts.envelope import Message, Payload, open_message
from contracts.runs import PlanRun, RunCompleted, RunFailed, RunState
from services.runtime.aws.clients import Clients
from services.runtime.aws.publishing import BATCH_ENTRIES, MESSAGE_BYTES, AwsPublisher, in_batches
from services.runtime.failures import MalformedError, MissingObjectError, UnreachableError
from services.runtime.publishing import Publisher
from services.runtime.tracing import Trace, carrying
from tests.conformance.queues import Listener, MoodySqs, drain
from tests.emulator_support import Stack
from tests.fakes.clock import EPOCH, ManualClock
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.publishing import FakePublisher

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

QUEUE = "plan-requests"
"""A queue that no topic feeds: what is in it was sent to it."""
FACT = RunCompleted(pipeline="visits", run_id="r1", state=RunState.SUCCEEDED, records=7)
KIBIBYTE = 1024


def commands(count: int, size: int = 1) -> list[Payload]:
    """Commands that differ; each is somewhat larger than ``size`` bytes."""
    return [PlanRun(pipeline="visits", run_id=f"{number:04}" + "r" * size) for number in range(count)]


def numbers(bodies: list[str]) -> list[str]:
    """Which of the commands these bodies are."""
    return [json.loads(body)["body"]["run_id"][:4] for body in bodies]


@dataclass(frozen=True)
class Bench:
    """A publisher, the same one over a bad network, and what arrived at the queue and from the topic."""

    publisher: Publisher
    faulty: Publisher
    network: ScriptedNetwork
    queued: Callable[[], Awaitable[list[str]]]
    facts: Callable[[], Awaitable[list[str]]]


class PublisherConformance:
    """Subclasses provide the ``bench`` fixture."""

    async def test_a_command_arrives_in_its_envelope(self, bench: Bench) -> None:
        """The consumer opens the message and finds run, time, identity and the payload itself."""
        await bench.publisher.send(QUEUE, commands(1), run_id="r1")
        (body,) = await bench.queued()
        message, payload = open_message(body, {"PlanRun": PlanRun})
        assert payload == commands(1)[0]
        assert (message.run_id, message.occurred_at) == ("r1", EPOCH)
        assert message.dedup_id == commands(1)[0].dedup_id()

    async def test_the_trace_goes_on_with_what_is_sent(self, bench: Bench) -> None:
        """What is sent while a message is handled has that message's trace; what is sent otherwise has none."""
        trace = Trace("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", sampled=True)
        with carrying(trace):
            await bench.publisher.send(QUEUE, commands(1), run_id="r1")
            await bench.publisher.announce(FACT, run_id="r1")
        bodies = await bench.queued() + await bench.facts()
        assert [Message.model_validate_json(body).trace for body in bodies] == [trace.header] * 2
        await bench.publisher.send(QUEUE, commands(1), run_id="r1")
        (body,) = await bench.queued()
        assert Message.model_validate_json(body).trace is None

    async def test_every_command_of_many_arrives(self, bench: Bench) -> None:
        """More commands than fit ten requests arrive, each once and with an id of its own."""
        await bench.publisher.send(QUEUE, commands(104), run_id="r1")
        bodies = await bench.queued()
        assert sorted(numbers(bodies)) == [f"{number:04}" for number in range(104)]
        assert len({Message.model_validate_json(body).id for body in bodies}) == 104

    async def test_sending_nothing_sends_nothing(self, bench: Bench) -> None:
        """No commands, no request: not even to a queue that does not exist."""
        await bench.publisher.send(QUEUE, [], run_id="r1")
        await bench.publisher.send("no-such-queue", [], run_id="r1")
        assert await bench.queued() == []

    async def test_large_commands_are_not_too_large_together(self, bench: Bench) -> None:
        """Commands that are each allowed arrive though ten of them are over the limit of one request."""
        await bench.publisher.send(QUEUE, commands(12, size=100 * KIBIBYTE), run_id="r1")
        assert len(await bench.queued()) == 12

    async def test_a_command_over_its_limit_is_refused(self, bench: Bench) -> None:
        """One command over 256 KiB: nothing is sent, and the text names it and says what to do."""
        too_large = PlanRun(pipeline="visits", run_id="r" * 256 * KIBIBYTE)
        with pytest.raises(MalformedError, match="PlanRun"):
            await bench.publisher.send(QUEUE, [*commands(20), too_large], run_id="r1")
        assert await bench.queued() == []

    async def test_a_queue_that_does_not_exist_is_named(self, bench: Bench) -> None:
        """An undeclared queue is missing; the text says which."""
        with pytest.raises(MissingObjectError, match="no-such-queue"):
            await bench.publisher.send("no-such-queue", commands(1), run_id="r1")

    async def test_a_fact_reaches_whoever_subscribed(self, bench: Bench) -> None:
        """Facts of every kind arrive in their envelopes."""
        await bench.publisher.announce(FACT, run_id="r1")
        failed = RunFailed(pipeline="visits", run_id="r2", reason="why")
        await bench.publisher.announce(failed, run_id="r2")
        facts = [
            open_message(body, {"RunCompleted": RunCompleted, "RunFailed": RunFailed})[1]
            for body in await bench.facts()
        ]
        assert sorted(facts, key=str) == sorted([FACT, failed], key=str)

    async def test_a_fact_over_its_limit_is_refused(self, bench: Bench) -> None:
        """A fact over 256 KiB is not published."""
        with pytest.raises(MalformedError, match="RunFailed"):
            await bench.publisher.announce(
                RunFailed(pipeline="visits", run_id="r1", reason="x" * 256 * KIBIBYTE), run_id="r1"
            )
        assert await bench.facts() == []

    async def test_after_a_lost_request_sending_again_sends(self, bench: Bench) -> None:
        """A request that never arrived is reported as unreachable; the repetition sends all."""
        bench.network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await bench.faulty.send(QUEUE, commands(3), run_id="r1")
        await bench.faulty.send(QUEUE, commands(3), run_id="r1")
        assert sorted(numbers(await bench.queued())) == ["0000", "0001", "0002"]

    async def test_after_a_lost_answer_consumers_see_repetitions(self, bench: Bench) -> None:
        """Sending again after a lost answer sends twice, and every repetition has the same ``dedup_id``."""
        bench.network.next(Fate.ANSWER_LOST)
        with pytest.raises(UnreachableError):
            await bench.faulty.send(QUEUE, commands(2), run_id="r1")
        await bench.faulty.send(QUEUE, commands(2), run_id="r1")
        seen = Counter(Message.model_validate_json(body).dedup_id for body in await bench.queued())
        assert seen == {command.dedup_id(): 2 for command in commands(2)}

    async def test_a_fact_is_announced_at_least_once(self, bench: Bench) -> None:
        """A lost request leaves no fact, a lost answer leaves one; repeating is safe by ``dedup_id``."""
        for fate, arrived in ((Fate.REQUEST_LOST, 0), (Fate.ANSWER_LOST, 1)):
            bench.network.next(fate)
            with pytest.raises(UnreachableError):
                await bench.faulty.announce(FACT, run_id="r1")
            facts = await bench.facts()
            assert [Message.model_validate_json(fact).dedup_id for fact in facts] == ["r1/completed"] * arrived


class TestFakePublisher(PublisherConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def bench(self) -> Bench:
        """Queues and facts in memory; what was looked at is taken out, as from a queue."""
        publisher, network = FakePublisher(ManualClock()), ScriptedNetwork()

        def taken(bodies: list[str]) -> Callable[[], Awaitable[list[str]]]:
            async def take() -> list[str]:
                found, bodies[:] = list(bodies), []
                return found

            return take

        faulty = publisher.seen_by(Effects(network=network))
        return Bench(publisher, faulty, network, taken(publisher.sent[QUEUE]), taken(publisher.facts))


class TestAwsPublisher(PublisherConformance):
    """SQS and SNS through the emulator keep the contract."""

    @pytest.fixture
    async def listener(self, stack: Stack, clients: Clients) -> Listener:
        """Subscribe with raw delivery, as services do."""
        created = await clients.sqs.create_queue(QueueName=stack.resource("listener"))
        attributes = await clients.sqs.get_queue_attributes(QueueUrl=created["QueueUrl"], AttributeNames=["QueueArn"])
        topic = await clients.sns.create_topic(Name=stack.resource("pipeline-events"))
        await clients.sns.subscribe(
            TopicArn=topic["TopicArn"],
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return Listener(created["QueueUrl"], topic["TopicArn"])

    @pytest.fixture
    async def bench(self, stack: Stack, clients: Clients, listener: Listener) -> Bench:
        """The stack's own queue; addresses are looked up before the network can go bad."""
        network, clock = ScriptedNetwork(), ManualClock()
        answer = await clients.sqs.get_queue_url(QueueName=stack.resource(QUEUE))

        async def queued() -> list[str]:
            return [message["Body"] for message in await drain(clients.sqs, answer["QueueUrl"])]

        async def facts() -> list[str]:
            return [message["Body"] for message in await drain(clients.sqs, listener.url)]

        faulty = AwsPublisher(
            cast("SQSClient", NetworkedClient(clients.sqs, network)),
            cast("SNSClient", NetworkedClient(clients.sns, network)),
            stack.name,
            clock,
        )
        faulty._queues[QUEUE], faulty._topic = answer["QueueUrl"], listener.topic
        return Bench(AwsPublisher(clients.sqs, clients.sns, stack.name, clock), faulty, network, queued, facts)

    async def test_subscribers_can_filter_facts(self, bench: Bench, clients: Clients, listener: Listener) -> None:
        """Kind and pipeline travel as message attributes, which filter policies see."""
        await bench.publisher.announce(FACT, run_id="r1")
        (message,) = await drain(clients.sqs, listener.url)
        attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
        assert attributes == {"kind": "RunCompleted", "pipeline": "visits"}

    async def test_only_failed_entries_are_sent_again(self, stack: Stack, clients: Clients, bench: Bench) -> None:
        """What SQS reports as failed is retried alone, until everything arrived once."""
        moody = MoodySqs(clients.sqs, times=3)
        publisher = AwsPublisher(cast("SQSClient", moody), clients.sns, stack.name, ManualClock())
        await publisher.send(QUEUE, commands(10), run_id="r1")
        assert moody.batches == [10, 5, 2, 1]
        assert sorted(numbers(await bench.queued())) == [f"{number:04}" for number in range(10)]

    async def test_a_message_that_sqs_refuses_is_not_retried(self, stack: Stack, clients: Clients) -> None:
        """An entry that failed by the sender's fault is malformed; sending it again cannot help."""
        moody = MoodySqs(clients.sqs, times=9, sender_fault=True)
        publisher = AwsPublisher(cast("SQSClient", moody), clients.sns, stack.name, ManualClock())
        with pytest.raises(MalformedError, match="Moody"):
            await publisher.send(QUEUE, commands(2), run_id="r1")
        assert moody.batches == [2]

    async def test_a_topic_that_does_not_exist_is_named(self, clients: Clients) -> None:
        """Announcing for a stack that was never deployed says which topic is missing."""
        publisher = AwsPublisher(clients.sqs, clients.sns, "elsewhere", ManualClock())
        with pytest.raises(MissingObjectError, match="elsewhere-pipeline-events"):
            await publisher.announce(FACT, run_id="r1")


def test_batches_keep_within_both_limits() -> None:
    """Requests hold at most ten messages and 256 KiB together; order is kept."""
    bodies = ["a" * size for size in (10, 200 * KIBIBYTE, 100 * KIBIBYTE, 250 * KIBIBYTE, 5, *[1] * 25)]
    batches = list(in_batches(bodies))
    assert [body for batch in batches for body in batch] == bodies
    assert all(len(batch) <= BATCH_ENTRIES for batch in batches)
    assert all(sum(map(len, batch)) <= MESSAGE_BYTES for batch in batches)
    assert [len(batch) for batch in batches] == [2, 1, 10, 10, 7]


def test_batches_count_bytes_not_characters() -> None:
    """Text outside ASCII is measured as it is sent."""
    assert [len(batch) for batch in in_batches(["é" * 100 * KIBIBYTE] * 2)] == [1, 1]
