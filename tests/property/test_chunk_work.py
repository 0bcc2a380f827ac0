"""Each key of a chunked run is worked on once, whoever dies, sleeps, is held, comes twice or comes late."""

import asyncio
import math

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.property.chunk_mutants import (
    AttemptsForgotten,
    ClaimOfAnOlderToken,
    CompletionBeforeTheChunk,
    DoneByTheRunLedger,
    EverybodyBlamed,
    FailedForgotten,
    FailuresGlossedOver,
    FenceWithoutToken,
    ParkedForgotten,
    SplitForgotten,
)
from tests.property.chunk_processes import Mutation
from tests.property.chunk_scenes import (
    SCENES,
    Scene,
    broken_off,
    concluded,
    last,
    paused,
    poisoned,
    redriven,
    walk_blows,
    walk_sleeps,
)
from tests.property.chunk_stories import Story, stories, tell
from tests.property.chunk_world import ChunkWorld
from tests.property.world.faults import Blow

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
@pytest.mark.parametrize("scene", SCENES)
async def test_trouble_at_any_exchange(scene: Scene, blow: Blow) -> None:
    """Whatever befalls a process, and wherever, the run comes to its end and each key is worked on once."""
    assert await walk_blows(scene, blow) >= 3


@pytest.mark.parametrize("others", [math.inf, 2, 3, 4, 6])
@pytest.mark.parametrize("scene", SCENES)
async def test_a_process_sleeps_anywhere(scene: Scene, others: float) -> None:
    """A process that wakes up when another is done, or in the midst of it, does no harm."""
    assert await walk_sleeps(scene, others) >= 3


async def test_temporary_trouble_fails_nothing() -> None:
    """A chunk that is broken off any number of times is never blamed for it."""
    await broken_off()


@given(story=stories)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_stories(story: Story) -> None:
    """Any mixture of all this: nothing is lost, nothing is done twice, nothing passes for what it is not."""
    asyncio.run(tell(story))


@pytest.mark.soak
@given(story=stories)
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_stories(story: Story) -> None:
    """The same for as long as there is time."""
    asyncio.run(tell(story))


@pytest.mark.parametrize(
    ("mutation", "scene", "blow", "noticed"),
    [
        pytest.param(DoneByTheRunLedger(), last, Blow.KILL_AFTER, "worked on twice", id="done-by-the-run-ledger"),
        pytest.param(CompletionBeforeTheChunk(), last, Blow.KILL_AFTER, "RUNNING", id="completion-before-the-chunk"),
        pytest.param(SplitForgotten(), redriven, Blow.KILL_BEFORE, "worked on twice", id="split-forgotten"),
        pytest.param(AttemptsForgotten(), poisoned, Blow.KILL_BEFORE, "keep coming back", id="attempts-forgotten"),
        pytest.param(FailuresGlossedOver(), poisoned, Blow.KILL_BEFORE, "passes for a success", id="glossed-over"),
        pytest.param(FailedForgotten(), poisoned, Blow.KILL_BEFORE, "nobody will hear of it", id="failed-forgotten"),
    ],
)
async def test_blows_find_each_broken_mechanism(mutation: Mutation, scene: Scene, blow: Blow, noticed: str) -> None:
    """Each mechanism is there for a reason: without it the same walk breaks a promise."""
    with pytest.raises(AssertionError, match=noticed):
        await walk_blows(scene, blow, mutation)


@pytest.mark.parametrize(
    ("mutation", "others"),
    [
        pytest.param(FenceWithoutToken(), 3, id="fence-without-token"),
        pytest.param(ClaimOfAnOlderToken(), 3, id="claim-of-an-older-token"),
    ],
)
async def test_sleeps_find_each_broken_mechanism(mutation: Mutation, others: float) -> None:
    """The same for what protects against those who slept."""
    with pytest.raises(AssertionError, match="has claimed it"):
        await walk_sleeps(last, others, mutation)


async def test_blame_and_loss_are_noticed() -> None:
    """The same for what keeps a chunk from being blamed, and a held run from being forgotten."""
    with pytest.raises(AssertionError, match="it was blamed"):
        await broken_off(EverybodyBlamed())
    world = ChunkWorld(mutation=ParkedForgotten())
    await paused(world)
    with pytest.raises(AssertionError, match="RUNNING"):
        await concluded(world)


@pytest.mark.soak
@pytest.mark.parametrize(
    "mutation", [DoneByTheRunLedger(), ParkedForgotten()], ids=["done-by-the-run-ledger", "parked-forgotten"]
)
def test_stories_find_a_broken_mechanism(mutation: Mutation) -> None:
    """Stories have teeth, too."""

    @given(story=stories)
    @settings(
        max_examples=1_000,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    def told(story: Story) -> None:
        asyncio.run(tell(story, mutation))

    with pytest.raises(AssertionError):
        told()
