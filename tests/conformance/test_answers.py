"""What every Answers does, held against the fake (``AnswersConformance``) and against Step Functions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from contracts.envelope import Json
from services.chunk_worker.adapters.answers import CAUSE_CHARACTERS, OUTPUT_BYTES, StepFunctionsAnswers
from services.chunk_worker.ports import Answers
from services.runtime.aws.clients import Clients
from services.runtime.failures import PermanentError, TemporaryError
from tests.emulator_support import Stack
from tests.fakes.answers import FakeAnswers

RESULT: Json = {"chunk_id": "5", "rows": 9_876, "seconds": 0.5, "ssn": "Ünï'ço∂é", "parts": None}


class Waiting(Protocol):
    """State machines whose tasks wait for answers."""

    @property
    def answers(self) -> Answers:
        """The port."""
        ...

    async def ask(self) -> str:
        """Let a task wait; its token."""
        ...

    async def became(self, token: str) -> tuple[str, Any]:
        """What a task that was answered has become: ("succeeded", result), or ("failed", (error, cause))."""
        ...


class AnswersConformance:
    """Subclasses provide the ``waiting`` fixture."""

    async def test_a_result_reaches_who_waits(self, waiting: Waiting) -> None:
        """The state machine goes on with the result, letter for letter."""
        token = await waiting.ask()
        assert await waiting.answers.succeed(token, RESULT)
        assert await waiting.became(token) == ("succeeded", RESULT)

    async def test_a_failure_has_a_name_and_a_cause(self, waiting: Waiting) -> None:
        """The name is what a state machine's retries go by; the cause is for people."""
        token = await waiting.ask()
        assert await waiting.answers.fail(token, "ChunkRetry", "division by zero")
        assert await waiting.became(token) == ("failed", ("ChunkRetry", "division by zero"))

    async def test_a_heartbeat_ends_nothing(self, waiting: Waiting) -> None:
        """The task still waits afterwards, and takes its result."""
        token = await waiting.ask()
        assert await waiting.answers.heartbeat(token)
        assert await waiting.answers.heartbeat(token)
        assert await waiting.answers.succeed(token, {})
        assert await waiting.became(token) == ("succeeded", {})

    async def test_a_task_is_answered_once(self, waiting: Waiting) -> None:
        """Whoever answers again is told that nobody waits; the first answer stands."""
        token = await waiting.ask()
        await waiting.answers.succeed(token, RESULT)
        ended = await waiting.became(token)
        assert not await waiting.answers.succeed(token, {"other": True})
        assert not await waiting.answers.fail(token, "ChunkFailed", "late")
        assert not await waiting.answers.heartbeat(token)
        assert await waiting.became(token) == ended

    async def test_nobody_waits_by_an_unknown_token(self, waiting: Waiting) -> None:
        """An answer to a task that there never was is no error."""
        token = str(uuid4())
        assert not await waiting.answers.succeed(token, {})
        assert not await waiting.answers.fail(token, "ChunkFailed", "why")
        assert not await waiting.answers.heartbeat(token)

    async def test_tasks_are_told_apart(self, waiting: Waiting) -> None:
        """Each of several tasks that wait at the same time has the answer that was its own."""
        first, second = await waiting.ask(), await waiting.ask()
        await waiting.answers.fail(second, "ChunkFailed", "second")
        await waiting.answers.succeed(first, {"first": True})
        assert await waiting.became(first) == ("succeeded", {"first": True})
        assert await waiting.became(second) == ("failed", ("ChunkFailed", "second"))

    async def test_a_result_that_is_too_large_is_refused(self, waiting: Waiting) -> None:
        """More than 256 KiB cannot be a result; the task still waits, for a failure that says so."""
        token = await waiting.ask()
        with pytest.raises(PermanentError, match="262,144"):
            await waiting.answers.succeed(token, {"text": "ü" * (OUTPUT_BYTES // 2)})
        assert await waiting.answers.fail(token, "ActionFailed", "too large")
        assert await waiting.became(token) == ("failed", ("ActionFailed", "too large"))

    async def test_the_largest_result_is_taken(self, waiting: Waiting) -> None:
        """Exactly 256 KiB are a result."""
        token = await waiting.ask()
        result = {"text": "x" * (OUTPUT_BYTES - len('{"text":""}'))}
        assert await waiting.answers.succeed(token, result)
        assert await waiting.became(token) == ("succeeded", result)

    async def test_a_long_failure_is_cut(self, waiting: Waiting) -> None:
        """A cause has 32,768 characters and a name 256: what is longer is cut, and a cut cause shows it."""
        token = await waiting.ask()
        assert await waiting.answers.fail(token, "E" * 300, "ü" * 40_000)
        state, (error, cause) = await waiting.became(token)
        assert (state, error, len(cause)) == ("failed", "E" * 256, CAUSE_CHARACTERS)
        assert cause.strip("ü") == " …"


class Remembering:
    """The fake's tasks, which are not there until somebody asks for one."""

    def __init__(self) -> None:
        self.answers = FakeAnswers()

    async def ask(self) -> str:
        """See ``Waiting``."""
        token = str(uuid4())
        self.answers.waiting.add(token)
        return token

    async def became(self, token: str) -> tuple[str, Any]:
        """See ``Waiting``."""
        state, *told = self.answers.told[token]
        return state, told[0] if state == "succeeded" else tuple(told)


class TestFakeAnswers(AnswersConformance):
    """The fake keeps the contract."""

    @pytest.fixture
    def waiting(self) -> Waiting:
        """Tasks in memory."""
        return Remembering()


class StateMachines:
    """One state machine that sends its token to a queue and waits."""

    def __init__(self, clients: Clients, queue: str, machine: str) -> None:
        self.answers = StepFunctionsAnswers(clients.stepfunctions)
        self._clients = clients
        self._queue = queue
        self._machine = machine
        self._executions: dict[str, str] = {}

    async def ask(self) -> str:
        """See ``Waiting``."""
        started = await self._clients.stepfunctions.start_execution(stateMachineArn=self._machine)
        answer = await self._clients.sqs.receive_message(QueueUrl=self._queue, WaitTimeSeconds=10)
        (message,) = answer["Messages"]
        await self._clients.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        token: str = json.loads(message["Body"])["token"]
        self._executions[token] = started["executionArn"]
        return token

    async def became(self, token: str) -> tuple[str, Any]:
        """See ``Waiting``."""
        async with asyncio.timeout(10):
            while True:
                arn = self._executions[token]
                found = await self._clients.stepfunctions.describe_execution(executionArn=arn)
                if found["status"] != "RUNNING":
                    break
                await asyncio.sleep(0.01)
        if found["status"] == "SUCCEEDED":
            return "succeeded", json.loads(found["output"])
        return "failed", (found["error"], found["cause"])


@asynccontextmanager
async def _state_machines(stack: Stack) -> AsyncIterator[StateMachines]:
    async with Clients("sqs", "stepfunctions") as clients:
        queue = (await clients.sqs.create_queue(QueueName=stack.resource("asked")))["QueueUrl"]
        ask = {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
            "TimeoutSeconds": 30,
            "End": True,
        }
        machine = await clients.stepfunctions.create_state_machine(
            name=stack.resource("asking"),
            definition=json.dumps({"StartAt": "Ask", "States": {"Ask": ask}}),
            roleArn=f"arn:aws:iam::{stack.account}:role/asking",
        )
        yield StateMachines(clients, queue, machine["stateMachineArn"])


class Refusing:
    """A client whose every call is refused with one code."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __getattr__(self, operation: str) -> Any:
        async def refuse(**_: object) -> None:
            raise ClientError({"Error": {"Code": self._code, "Message": "refused"}}, operation)

        return refuse


class TestStepFunctionsAnswers(AnswersConformance):
    """Step Functions keep the contract."""

    @pytest.fixture
    async def waiting(self, empty_stack: Stack) -> AsyncIterator[Waiting]:
        """A state machine of the test's own."""
        async with _state_machines(empty_stack) as machines:
            yield machines

    @pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
    async def test_nobody_waits_under_many_names(self, code: str) -> None:
        """A task that ran out of time, and a token that is none, are the same to whoever answers."""
        answers = StepFunctionsAnswers(cast("Any", Refusing(code)))
        assert not await answers.succeed("token", {})
        assert not await answers.fail("token", "ChunkFailed", "why")
        assert not await answers.heartbeat("token")

    async def test_a_refusal_is_no_answer(self) -> None:
        """What the service puts off is tried again; what it refuses for good is said."""
        with pytest.raises(TemporaryError, match="SendTaskHeartbeat: ThrottlingException"):
            await StepFunctionsAnswers(cast("Any", Refusing("ThrottlingException"))).heartbeat("token")
        with pytest.raises(PermanentError, match="SendTaskSuccess: InvalidOutput"):
            await StepFunctionsAnswers(cast("Any", Refusing("InvalidOutput"))).succeed("token", {})
