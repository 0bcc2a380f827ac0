"""A chunked job's planner, workers, operator and state machine over fakes, one exchange with the world at a time.

Processes stand still where a story wants them to, die there, lose answers, and go on when others have long taken over.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from contracts.chunks import ActionName, ActionPayload, ProcessChunk, RunAction
from contracts.envelope import Message, Payload
from contracts.runs import PlanRun, RunState
from services.chunk_worker.core.ends import CHUNK_RETRY, RUN_PAUSED
from services.chunk_worker.core.tasks import DLQ, QUEUE
from services.chunk_worker.ports import Memory, TableState
from services.chunk_worker.ports import Ports as WorkerPorts
from services.chunk_worker.use_case import work_batch
from services.console.commands.holding import Verb, hold
from services.planner.use_case.batch import plan_batch
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.deliveries import Delivery
from services.runtime.ledger import Run
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.chunk_tables import FakeChunkTables, Key
from tests.fakes.effects import Effects, KilledError
from tests.fakes.leases import FakeLeases
from tests.property.chunk_planner import planner_of
from tests.property.chunk_processes import Letter, Machine, Mutation, Process, Watch, Watched, Way
from tests.property.world.faults import Blow
from tests.unit.chunk_worker.world import World, body

PLAN_QUEUE = "plan-requests"
VISIBLE_S = 30.0
MAP_RETRIES = 3
MOST_TURNS = 20_000
MOST_DELIVERIES = 600
ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


class ChunkWorld(World):
    """Everything, with the messages between it."""

    def __init__(self, keys: int = 6, mutation: Mutation | None = None) -> None:
        super().__init__(keys)
        self.mutation = mutation or Mutation()
        self.letters: list[Letter] = []
        self.processes: dict[str, Process] = {}
        self.watch = Watch()
        self.machines: dict[str, Machine] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill whoever still stands somewhere."""
        for process in self.processes.values():
            process.way.dead = True
            process.way.go(0, None)
        await asyncio.gather(*(process.task for process in self.processes.values()), return_exceptions=True)

    @property
    def poisoned(self) -> set[Key]:
        """Keys that cannot be worked on."""
        return self.watch.poisoned

    @property
    def at(self) -> float:
        """Seconds since the world began."""
        return self.clock.monotonic()

    async def ask(self, run_id: str, *, resume: bool = False) -> None:
        """Ask the planner for a run."""
        request = PlanRun(pipeline=self.job.name, run_id=run_id, resume=resume)
        await self.publisher.send(PLAN_QUEUE, [request], run_id=run_id)

    async def operate(self, verb: Verb, run_id: str) -> None:
        """Pause, resume or cancel a run, if that can be done to it."""
        run = await self.ledger.run(run_id)
        if run is None or run.state is RunState.SUCCEEDED:
            return
        if verb is Verb.RESUME and not self.mutation.resends_parked and run.paused:
            await self.ledger.pause_run(run_id, paused=False)
            return
        if verb is Verb.PAUSE and run.state in ENDED:
            return
        if verb is Verb.CANCEL and run.state is RunState.FAILED:
            return
        await hold(self.ledger, self.publisher, verb, run_id, PlanRun(pipeline="-", run_id="-").chunk)

    def redrive(self) -> None:
        """Send everything in the DLQ back."""
        dead, self.publisher.sent[DLQ] = list(self.publisher.sent[DLQ]), []
        self.publisher.sent[QUEUE] += dead

    def execute(self, run_id: str) -> None:
        """Start a state machine."""
        machine = Machine(f"execution {len(self.machines)}", run_id)
        self.machines[machine.name] = machine
        self._request(machine, self._action(run_id, ActionName.TASK_01), 0)

    def duplicate(self, number: int) -> None:
        """Let a message that waits, or is in somebody's hands, be there twice."""
        self.post()
        if self.letters:
            letter = self.letters[number % len(self.letters)]
            self.letters.append(Letter(letter.queue, letter.body, self.at))

    def give_up_waiting(self) -> None:
        """Let every task that is waited for run into its time limit: it is asked for again."""
        for machine in self.machines.values():
            for token, (payload, times) in list(machine.tasks.items()):
                if token in self.answers.waiting:
                    self.answers.waiting.remove(token)
                    del machine.tasks[token]
                    self._request(machine, payload, times)

    def post(self) -> None:
        """What was sent or answered arrives."""
        for queue in (QUEUE, PLAN_QUEUE):
            sent, self.publisher.sent[queue] = list(self.publisher.sent[queue]), []
            self.letters += [Letter(queue, text, self.at) for text in sent]
        for machine in self.machines.values():
            for token in [token for token in machine.tasks if token in self.answers.told]:
                self._hear(machine, token)

    def due(self) -> list[Letter]:
        """Messages that can be received."""
        self.post()
        return [letter for letter in self.letters if letter.due <= self.at]

    async def take(self, name: str, letter: Letter, steps: float = math.inf, blow: Blow | None = None) -> None:
        """Hand a message to a process that is idle, and let it make so many exchanges."""
        assert name not in self.processes
        letter.receives += 1
        letter.due = self.at + VISIBLE_S
        way = Way(steps)
        way.blow = blow if steps == math.inf else None
        effects = Effects(way.check, way)
        delivery = Delivery("m", letter.body, letter.receives)
        if letter.queue == PLAN_QUEUE:
            work = plan_batch(planner_of(self, effects, way), [delivery])
        else:
            parked = await self._is_parked(letter)
            work = work_batch(self.worker(effects, way, parked=parked), [delivery])
        self.processes[name] = Process(way, letter, letter.receives, asyncio.ensure_future(work))
        await self._until_still(name)

    async def go(self, name: str, steps: float = math.inf, blow: Blow | None = None) -> None:
        """Let a process that stands still go on."""
        if name in self.processes:
            self.processes[name].way.go(steps, blow)
            await self._until_still(name)

    async def drain(self) -> None:
        """Let everybody come to an end, and deliver every message until none is left.

        Raises:
            AssertionError: there is no end to it.
        """
        for name in sorted(self.processes):
            await self.go(name)
        for _ in range(MOST_DELIVERIES):
            ready = self.due()
            if not self.letters:
                return
            if not ready:
                self.clock.advance(max(min(letter.due for letter in self.letters) - self.at, 0.001))
                continue
            await self.take("last", ready[0])
            self.check()
        raise AssertionError(f"messages keep coming back: {[letter.body for letter in self.letters]}")

    def check(self) -> None:
        """What must hold at every moment."""
        assert all(times == 1 for times in self.database.done.values()), "a key was worked on twice"
        for (run_id, chunk_id), entry in self.ledger.table.chunks.items():
            if entry.state is ChunkState.DONE:
                row = self.database.row(run_id, chunk_id)
                parts = [self.database.chunks.get((run_id, f"{chunk_id}.{n}")) for n in (1, 2)]
                in_parts = all(part is not None and part.state is TableState.DONE for part in parts)
                assert row.state is TableState.DONE or (row.state is TableState.SPLIT and in_parts), "said to be done"
        succeeded = {run.run_id for run in self.ledger.table.runs.values() if run.state is RunState.SUCCEEDED}
        for run_id in succeeded | {str(m.body["run_id"]) for m in self.publisher.announced() if m.kind == COMPLETED}:
            assert self.times_done(run_id) == {1}, f"run {run_id} passes for a success"

    def worker(self, effects: Effects, way: Way, *, parked: bool = False) -> WorkerPorts:
        """The chunk worker as one process."""
        ports = self.ports(effects, memory=Memory())
        assert isinstance(ports.tables, FakeChunkTables)
        watched = Watched(self.watch, self.mutation.tables(ports.tables), parked=parked)
        return self.mutation.worker(replace(ports, tables=watched, leases=FakeLeases(self.clock, self.leases, way)))

    async def _is_parked(self, letter: Letter) -> bool:
        """Whether the message is about a chunk of a run that is held."""
        message = Message.model_validate_json(letter.body)
        run = await self.ledger.run(message.run_id)
        return message.kind == "ProcessChunk" and run is not None and run.paused

    async def _until_still(self, name: str) -> None:
        process = self.processes[name]
        for _ in range(MOST_TURNS):
            if process.task.done() or process.way.standing is not None:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"{name} neither works nor ends")
        if process.task.done():
            del self.processes[name]
            self._put_away(process)
        self.check()

    def _put_away(self, process: Process) -> None:
        """The message is deleted or comes again, if nobody else has received it meanwhile."""
        letter, latest = process.letter, process.letter.receives == process.receives
        try:
            failed = process.task.result().failed
        except KilledError:
            return
        if not latest or letter not in self.letters:
            return
        if "m" not in failed:
            self.letters.remove(letter)
        else:
            delay = failed["m"]
            letter.due = self.at + (10.0 if delay is None else delay)

    def _action(self, run_id: str, name: ActionName) -> RunAction:
        return RunAction(pipeline=self.job.name, action=name, payload=ActionPayload(run_id=run_id))

    def _request(self, machine: Machine, payload: Payload, times: int, *, after_s: float = 0.0) -> None:
        """Ask a worker for something, and wait for the answer."""
        machine.asked += 1
        token = f"{machine.name} {machine.asked}"
        payload = payload.model_copy(update={"task_token": token})
        self.answers.waiting.add(token)
        machine.tasks[token] = (payload, times)
        self.letters.append(Letter(QUEUE, body(payload), self.at + after_s))

    def _hear(self, machine: Machine, token: str) -> None:
        """What the definition does with an answer."""
        payload, times = machine.tasks.pop(token)
        told = self.answers.told[token]
        if isinstance(payload, RunAction):
            if told[0] == "failed":
                machine.results[payload.action] = told[1]
            elif payload.action is ActionName.TASK_01:
                self._request(machine, self._action(machine.run_id, ActionName.GET_CHUNKS), 0)
            else:
                for chunk_id in told[1]["details"]["chunk_ids"]:
                    self._request(machine, self.chunk(chunk_id, run_id=machine.run_id), 0)
            return
        assert isinstance(payload, ProcessChunk)
        if told[0] == "failed" and told[1] == CHUNK_RETRY and times < MAP_RETRIES:
            self._request(machine, payload, times + 1, after_s=2.0 ** (times + 1))
        elif told[0] == "failed" and told[1] == RUN_PAUSED:
            self._request(machine, payload, times, after_s=30)
        else:
            machine.results[payload.chunk_id] = told[0] if told[0] == "succeeded" else told[1]

    async def entries(self, run_id: str) -> list[ChunkEntry]:
        """The chunks of a run."""
        return await FakeChunkLedger.of(self.ledger).chunks(run_id)

    def run_states(self) -> dict[str, RunState]:
        """Where each run stands."""
        return {run.run_id: run.state for run in self.runs()}

    def heard_of(self) -> set[tuple[str, str]]:
        """Chunks whose failure somebody was told: by the DLQ, or by the state machine that waited."""
        dead = {(str(m.body["run_id"]), str(m.body["chunk_id"])) for m in self.dead() if "chunk_id" in m.body}
        for machine in self.machines.values():
            dead |= {(machine.run_id, name) for name, answer in machine.results.items() if answer != "succeeded"}
        return dead

    def runs(self) -> Iterable[Run]:
        """All runs."""
        return list(self.ledger.table.runs.values())


COMPLETED = "RunCompleted"
