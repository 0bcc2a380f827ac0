"""Workers that die at any moment, and mergers that get in each other's way."""

import asyncio

import pytest

from services.console.demo.dice import Dice
from services.console.demo.visit_events import generate
from tests.e2e.fleet import Fleet, eventually
from tests.e2e.proxy import Call, Proxy
from tests.e2e.world import World
from tests.emulator_support import Stack

STEPS = {"validator": 6, "merger": 14}
"""The victims of each turn, and the last step at which one may die: about as many as a batch takes."""

WAITING = frozenset({"ReceiveMessage", "GetQueueUrl", "ChangeMessageVisibilityBatch"})
"""Requests of a worker that has nothing in hand, or only keeps it."""


class Moment:
    """Matches a worker's n-th step: a request of another kind than the one before.

    Counted in steps, a moment is the same on a fast and on a slow machine, and it lies in the middle of the work.
    """

    def __init__(self, step: int) -> None:
        self._left = step
        self._last: tuple[str, str] | None = None

    def __call__(self, call: Call) -> bool:
        """Whether this request takes the step."""
        kind = (call.method, call.target)
        if call.target in WAITING or kind == self._last:
            return False
        self._last = kind
        self._left -= 1
        return self._left == 0


async def _victim(fleet: Fleet, endpoint: str, service: str, dice: Dice, ready: asyncio.Event) -> Call:
    """Start a worker and kill it at some step; the request it died in.

    That request never arrived, or was carried out without an answer, or arrives when its sender is dead already.
    """
    async with Proxy(endpoint) as proxy:
        gate = proxy.rule(dice.pick(("cut", "hold_answer", "hold")), Moment(dice.between(1, STEPS[service])))
        worker = fleet.start(service, endpoint=proxy.url)
        # Before it asks for work the survivor would leave it none.
        await eventually(lambda: bool(gate.seen or worker.lines("worker started")), f"{service} starts")
        ready.set()
        await gate.reached()
        worker.kill()
    return gate.seen[0]


async def _kills(world: World, fleet: Fleet, endpoint: str, *, seed: int, files: int, times: int) -> None:
    dice = Dice(seed)
    fleet.cut_segments(60)
    fleet.settings |= {"TIDEGATE_LEASE_TTL_S": "3", "TIDEGATE_WORKER_VISIBILITY_S": "4"}
    survivor = fleet.start("validator")
    uploads, wave = generate(seed, files), files // times
    for turn in range(times):
        ready = {service: asyncio.Event() for service in STEPS}
        async with asyncio.TaskGroup() as group:
            deaths = [group.create_task(_victim(fleet, endpoint, s, dice, event)) for s, event in ready.items()]
            for event in ready.values():
                await event.wait()
            group.create_task(world.put(uploads[turn * wave : (turn + 1) * wave]))
        assert all(death.result() for death in deaths)
    fleet.start("merger")
    await world.idle()
    await world.check()
    assert survivor.is_alive


async def _race(world: World, fleet: Fleet, *, seed: int, files: int) -> None:
    fleet.cut_segments(8)
    fleet.settings["TIDEGATE_LEASE_TTL_S"] = "2"
    validator = fleet.start("validator")
    await world.put(generate(seed, files))
    await world.validated(files)
    mergers = [fleet.start("merger", TIDEGATE_MERGER_LANES="2") for _ in range(2)]
    await world.idle()
    await world.check()
    commits = [len(merger.lines("committed")) for merger in mergers]
    assert sum(commits) == len(await world.versions())
    assert any(line["kind"] == "LeaseHeldError" for merger in mergers for line in merger.lines("not merged"))
    assert validator.is_alive


async def test_killed_workers_lose_and_double_nothing(world: World, fleet: Fleet, stack: Stack) -> None:
    """Validators and mergers are killed with SIGKILL in the middle of their work while 2,000 files arrive."""
    await _kills(world, fleet, stack.endpoint, seed=1, files=2_000, times=4)


async def test_racing_mergers_commit_every_row_once(world: World, fleet: Fleet) -> None:
    """Two mergers with two lanes each fight for one checkpoint over dozens of small segments."""
    await _race(world, fleet, seed=5, files=400)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
async def test_soak_killed_workers(world: World, fleet: Fleet, stack: Stack, seed: int) -> None:
    """The same with more files, more kills and other moments."""
    await _kills(world, fleet, stack.endpoint, seed=seed, files=6_000, times=10)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200, 210))
async def test_soak_racing_mergers(world: World, fleet: Fleet, seed: int) -> None:
    """The same race with more segments."""
    await _race(world, fleet, seed=seed, files=2_000)
