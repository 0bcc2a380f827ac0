"""State machines seen from their queue: a worker that answers by a script, and what must come of each script."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contracts.catalog import CHUNK_COMMANDS
from contracts.chunks import ActionName, ActionResult, ChunkOutcome, ProcessChunk, RunAction
from contracts.envelope import Json, Message, open_message
from contracts.topology import TOPOLOGY
from services.console.local.machines import (
    await_execution,
    definition_of,
    machine_arn,
    run_execution,
    start_execution,
)
from services.runtime.aws.clients import Clients

if TYPE_CHECKING:
    from types_aiobotocore_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

IN_ONE_PIECE, CHUNKED = "conflict-report", "conflict-report-chunked"
POLL_S = 0.05
PATIENCE_S = 60.0
"""Nothing here takes this long, but the machine may be busy with something else."""

Command = ProcessChunk | RunAction


@dataclass(frozen=True)
class Failure:
    """The answer of a worker that cannot."""

    error: str
    cause: str = "as the script says"


Script = Callable[[Command, int], "Json | Failure | None"]
"""What a command is answered when it comes for the n-th time, counted from 1; None: no answer at all."""


def answer_of(command: Command, chunks: list[str]) -> Json:
    """What a worker answers if everything goes well and the run has these chunks left."""
    if isinstance(command, ProcessChunk):
        done = ChunkOutcome(chunk_id=command.chunk_id, run_id=command.run_id, rows=10, seconds=0.5)
        return done.model_dump(mode="json")
    run_id = command.payload.run_id
    details: Json = {}
    if command.action is ActionName.GET_CHUNKS:
        details = {"chunk_ids": chunks, "total_chunks": len(chunks), "total_rows": 10 * len(chunks), "run_id": run_id}
    return ActionResult(action=command.action, run_id=run_id, details=details).model_dump(mode="json")


def all_well(*chunks: str, but: Mapping[str, Callable[[int], Failure | Json | None]] | None = None) -> Script:
    """A script in which all goes well, but for these actions and chunks (by name, by id)."""

    def script(command: Command, times: int) -> Json | Failure | None:
        name = command.chunk_id if isinstance(command, ProcessChunk) else command.action.value
        special = (but or {}).get(name)
        return special(times) if special is not None else answer_of(command, list(chunks))

    return script


@dataclass
class ScriptedWorker:
    """Takes everything that state machines send, answers it, and remembers it."""

    clients: Clients
    url: str
    script: Script
    seen: list[tuple[Message, Command]] = field(default_factory=list)
    heartbeats: int = 0
    """Heartbeats before each answer to a chunk, half a second apart."""

    @property
    def names(self) -> list[str]:
        """Actions and ids of chunks, in the order in which they came."""
        return [each.chunk_id if isinstance(each, ProcessChunk) else each.action.value for _, each in self.seen]

    def times(self) -> Counter[str]:
        """How often each of them came."""
        return Counter(self.names)

    async def take(self) -> list[Command]:
        """What has come. A request that waits could be cut off by the end of a test, and keep what it has got."""
        found = await self.clients.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        taken: list[Command] = []
        for delivery in found.get("Messages", []):
            await self.clients.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=delivery["ReceiptHandle"])
            message, command = open_message(delivery["Body"], CHUNK_COMMANDS)
            assert isinstance(command, ProcessChunk | RunAction)
            assert message.dedup_id == command.dedup_id()
            self.seen.append((message, command))
            taken.append(command)
        if not taken:
            await asyncio.sleep(POLL_S)
        return taken

    async def answer(self, command: Command) -> None:
        """Answer it as the script says."""
        name = command.chunk_id if isinstance(command, ProcessChunk) else command.action.value
        assert command.task_token is not None
        sfn, said = self.clients.stepfunctions, self.script(command, self.times()[name])
        if isinstance(command, ProcessChunk):
            for _ in range(self.heartbeats):
                await sfn.send_task_heartbeat(taskToken=command.task_token)
                await asyncio.sleep(0.5)
        if isinstance(said, Failure):
            await sfn.send_task_failure(taskToken=command.task_token, error=said.error, cause=said.cause)
        elif said is not None:
            await sfn.send_task_success(taskToken=command.task_token, output=json.dumps(said))

    async def work(self, ended: asyncio.Event) -> None:
        """Take and answer until it is over."""
        while not ended.is_set():
            async with asyncio.TaskGroup() as group:
                for command in await self.take():
                    group.create_task(self.answer(command))


@asynccontextmanager
async def working(worker: ScriptedWorker) -> AsyncIterator[ScriptedWorker]:
    """The worker at work meanwhile; what it stumbles over fails the test."""
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.work(ended))
        try:
            yield worker
        finally:
            ended.set()


@dataclass
class Machines:
    """The state machines of one stack."""

    clients: Clients
    stack: str

    async def worker(self, script: Script, *, heartbeats: int = 0) -> ScriptedWorker:
        """A worker on the queue of the state machines."""
        url = (await self.clients.sqs.get_queue_url(QueueName=f"{self.stack}-chunk-jobs"))["QueueUrl"]
        return ScriptedWorker(self.clients, url, script, heartbeats=heartbeats)

    async def hurried(self, name: str, *, interval_s: int = 0, heartbeat_s: int = 60) -> None:
        """Shorten the waits of a state machine: seconds until a retry, and until silence is noticed."""
        worker = await self.worker(all_well())
        [machine] = [machine for machine in TOPOLOGY.state_machines if machine.name == name]
        definition = json.loads(
            definition_of(machine, worker.url), object_hook=lambda each: _hurry(each, interval_s, heartbeat_s)
        )
        arn = await machine_arn(self.clients, f"{self.stack}-{name}")
        await self.clients.stepfunctions.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))

    async def run(
        self, name: str, script: Script, document: Json | None = None, *, heartbeats: int = 0
    ) -> tuple["DescribeExecutionOutputTypeDef", ScriptedWorker]:
        """Run it to its end with a worker that keeps to the script."""
        async with working(await self.worker(script, heartbeats=heartbeats)) as worker:
            ended = await run_execution(self.clients, self.stack, name, document or {}, deadline_s=PATIENCE_S)
        return ended, worker


def _hurry(part: dict[str, Any], interval_s: int, heartbeat_s: int) -> dict[str, Any]:
    if "IntervalSeconds" in part:
        return part | {"IntervalSeconds": interval_s, "BackoffRate": 1.0}
    return part | {"HeartbeatSeconds": heartbeat_s} if "HeartbeatSeconds" in part else part


def output_of(ended: "DescribeExecutionOutputTypeDef") -> Json:
    """What an execution that succeeded has given."""
    assert ended["status"] == "SUCCEEDED", ended
    output: Json = json.loads(ended["output"])
    return output


async def check_chunks(machines: Machines) -> None:
    """Five chunks are out at the same time and no more; every one is worked on once, and the output says so."""
    chunks = [str(number) for number in range(12)]
    clients, worker = machines.clients, await machines.worker(all_well(*chunks))
    arn = await start_execution(clients, machines.stack, CHUNKED, {}, execution="nightly-7")
    held: list[Command] = []
    while (left := len(chunks) - sum(name in chunks for name in worker.names) + len(held)) or not worker.seen:
        for command in await worker.take():
            if isinstance(command, RunAction):
                await worker.answer(command)
            else:
                held.append(command)
        assert len(held) <= 5
        if len(held) == min(5, left):
            for command in held:
                await worker.answer(command)
            held.clear()
    output = output_of(await await_execution(clients, arn, deadline_s=PATIENCE_S))
    assert worker.names[:3] == ["validate_config", "task_01", "get_task02_chunks"]
    assert sorted(worker.names[3:], key=int) == chunks
    assert {message.run_id for message, _ in worker.seen} == {"nightly-7"}
    assert len({message.id for message, _ in worker.seen}) == len(worker.seen)
    assert output["task02_results"]["chunks"] == [
        {"chunk_id": chunk, "status": "success", "rows": 10} for chunk in chunks
    ]


async def check_one_piece(machines: Machines) -> None:
    """A run of a given id, with settings of its own, goes through its three actions."""
    given = {"run_id": "r-1", "chunk": {"first_day": "2026-01-01", "target_rows": 500}}
    ended, worker = await machines.run(IN_ONE_PIECE, all_well(), given)
    assert output_of(ended)["task_02"]["status"] == "success"
    assert worker.names == ["validate_config", "task_01", "task_02"]
    for message, command in worker.seen:
        assert isinstance(command, RunAction)
        assert (message.run_id, command.pipeline) == ("r-1", "conflict_report")
        assert command.payload.model_dump(mode="json", exclude_none=True) == given


async def check_failures(machines: Machines) -> None:
    """A chunk comes back after ChunkRetry, three times; ChunkFailed is the end of it; the others are worked on."""
    often = {"a": lambda _: Failure("ChunkFailed"), "b": lambda n: Failure("ChunkRetry") if n < 4 else OK}
    script = all_well("a", "b", "c", but=often)
    ended, worker = await machines.run(CHUNKED, script, {"run_id": "r-2"})
    assert (ended["status"], ended["error"]) == ("FAILED", "ChunksFailed")
    assert "run r-2" in ended["cause"]
    assert [worker.times()[chunk] for chunk in "abc"] == [1, 4, 1]


async def check_pause(machines: Machines) -> None:
    """RunPaused is asked again and again without using up the attempts of a chunk that then needs them."""

    def chunk(times: int) -> Failure | Json:
        return Failure("RunPaused") if times <= 4 else Failure("ChunkRetry") if times <= 7 else OK

    ended, worker = await machines.run(CHUNKED, all_well("a", but={"a": chunk}))
    assert output_of(ended)["task02_results"]["chunks"] == [{"chunk_id": "a", "status": "success", "rows": 10}]
    assert worker.times()["a"] == 8


OK: Json = {"rows": 10}
