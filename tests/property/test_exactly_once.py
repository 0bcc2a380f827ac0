"""No row lost and no row twice, whatever is redelivered, reordered, killed, paused, unheard or undone."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.world.faults import Blow, Line, Strike
from tests.property.world.machine import machine
from tests.property.world.mutants import (
    EpochStaysOnRestore,
    LedgerAfterTheHead,
    MarksBeforeTheCommit,
    PutWithoutIfMatch,
    RandomSegmentIds,
    WatermarkFromAnywhere,
)
from tests.property.world.processes import Mutation
from tests.property.world.stages import STAGES, at_contradiction
from tests.property.world.walks import MEANWHILE, walk_pauses, walk_strikes

pytestmark = pytest.mark.usefixtures("quiet")

WALK = settings(
    deadline=None,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples of a test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
@pytest.mark.parametrize("stage", STAGES)
async def test_the_same_batch_comes_again(stage: str, blow: Blow) -> None:
    """After trouble at any exchange the redelivered batch ends as if nothing had happened, counts included."""
    assert await walk_strikes(stage, blow, one_by_one=False) >= 5


@pytest.mark.parametrize("blow", [Blow.KILL_BEFORE, Blow.KILL_AFTER], ids=lambda blow: blow.name.lower())
@pytest.mark.parametrize("stage", STAGES)
async def test_the_batch_comes_again_in_other_company(stage: str, blow: Blow) -> None:
    """After a death at any exchange the messages may come back alone and in another order."""
    assert await walk_strikes(stage, blow, one_by_one=True) >= 5


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_process_sleeps_anywhere(stage: str, meanwhile: str) -> None:
    """A process that slept through the work of others, and even through a restore, does no harm when it wakes."""
    assert await walk_pauses(stage, meanwhile) >= 5


@pytest.mark.parametrize("place", range(1, 16))
@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
async def test_a_row_wins_over_a_verdict_in_the_same_batch(blow: Blow, place: int) -> None:
    """A file that was there for one segment and missing for another is merged, and nowhere counted as quarantined."""
    stage = await at_contradiction()
    await stage.strike(Line(Strike(blow, place)))
    await stage.finish()


@pytest.mark.parametrize(
    ("mutation", "stage", "blow", "one_by_one"),
    [
        pytest.param(MarksBeforeTheCommit(), "merge", Blow.KILL_BEFORE, True, id="marks-before-the-commit"),
        pytest.param(LedgerAfterTheHead(), "merge", Blow.KILL_BEFORE, False, id="ledger-after-the-head"),
        pytest.param(RandomSegmentIds(), "validate", Blow.KILL_AFTER, False, id="random-segment-ids"),
    ],
)
async def test_deaths_find_each_broken_mechanism(
    mutation: Mutation,
    stage: str,
    blow: Blow,
    one_by_one: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Each mechanism is there for a reason: without it the same walk breaks a promise."""
    with pytest.raises(AssertionError) as broken:
        await walk_strikes(stage, blow, one_by_one=one_by_one, mutation=mutation)
    assert stage in broken.value.__notes__[0], "it works as long as nobody dies"


@pytest.mark.parametrize(
    ("mutation", "stage", "meanwhile"),
    [
        pytest.param(PutWithoutIfMatch(), "merge", "others-take-over", id="put-without-if-match"),
        pytest.param(EpochStaysOnRestore(), "merge", "undone-and-done-again", id="epoch-stays-on-restore"),
        pytest.param(WatermarkFromAnywhere(), "later-merge", "restored-meanwhile", id="watermark-from-anywhere"),
    ],
)
async def test_pauses_find_each_broken_mechanism(mutation: Mutation, stage: str, meanwhile: str) -> None:
    """The same for what protects against those who slept."""
    await walk_strikes(stage, Blow.KILL_AFTER, one_by_one=False, mutation=mutation)
    with pytest.raises(AssertionError) as broken:
        await walk_pauses(stage, meanwhile, mutation=mutation)
    assert stage in broken.value.__notes__[0]


def test_random_walks(runner: asyncio.Runner) -> None:
    """Uploads, scans, restores, replays, deaths, losses and pauses in any order."""
    run_state_machine_as_test(machine(runner), settings=settings(WALK, max_examples=150))


@pytest.mark.soak
def test_long_random_walks(runner: asyncio.Runner) -> None:
    """The same for as long as there is time."""
    run_state_machine_as_test(machine(runner), settings=settings(WALK, max_examples=1_500, stateful_step_count=50))


@pytest.mark.soak
@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(PutWithoutIfMatch(), id="put-without-if-match"),
        pytest.param(MarksBeforeTheCommit(), id="marks-before-the-commit"),
    ],
)
def test_random_walks_find_a_broken_mechanism(runner: asyncio.Runner, mutation: Mutation) -> None:
    """The random walk has teeth, too."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine(runner, mutation),
            settings=settings(
                WALK,
                max_examples=5_000,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
