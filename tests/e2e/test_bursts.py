"""Files that arrive in bursts share commits, and so does whatever waits for its merger."""

import asyncio

import pytest

from contracts.topology import TOPOLOGY
from services.console.demo.visit_events import generate
from tests.e2e.fleet import Fleet
from tests.e2e.world import World

FILES_A_COMMIT = 10
PAUSE_S = 1.0
AS_LAMBDA = {
    "TIDEGATE_VALIDATOR_LANES": str(TOPOLOGY.queue("validate-objects").maximum_concurrency),
    "TIDEGATE_MERGER_LANES": str(TOPOLOGY.queue("merge-segments").maximum_concurrency),
}
"""As many batches side by side as the event source mappings have, each gathered as long and as large as theirs."""


async def _bursts(world: World, fleet: Fleet, bursts: int, files: int) -> None:
    fleet.start("validator")
    fleet.start("merger")
    uploads = generate(31, bursts * files)
    for start in range(0, len(uploads), files):
        await world.put(uploads[start : start + files])
        await asyncio.sleep(PAUSE_S)
    await world.idle()
    await world.check()
    commits = len(await world.versions())
    assert commits * FILES_A_COMMIT <= len(uploads), f"{commits} commits"


@pytest.mark.parametrize("lanes", [{}, AS_LAMBDA], ids=["as-workers", "as-lambda"])
async def test_files_of_a_burst_share_commits(world: World, fleet: Fleet, lanes: dict[str, str]) -> None:
    """Bursts of fifty files a second apart take a tenth as many commits as files at most, each row once."""
    fleet.settings |= lanes
    await _bursts(world, fleet, 6, 50)


@pytest.mark.soak
@pytest.mark.parametrize("lanes", [{}, AS_LAMBDA], ids=["as-workers", "as-lambda"])
async def test_two_thousand_files_share_commits(world: World, fleet: Fleet, lanes: dict[str, str]) -> None:
    """The same of 2,000 files."""
    fleet.settings |= lanes
    await _bursts(world, fleet, 20, 100)


async def test_what_waits_for_a_merger_is_merged_together(world: World, fleet: Fleet) -> None:
    """Dozens of segments that nobody has merged yet make a commit or two, though ten of them are work enough."""
    fleet.cut_segments(3)
    fleet.start("validator")
    uploads = generate(32, 150)
    await world.put(uploads)
    await world.validated(len(uploads))
    merger = fleet.start("merger")
    await world.idle()
    await world.check()
    segments = [line["segments"] for line in merger.lines("committed")]
    assert sum(segments) >= 50
    assert len(segments) <= 2, segments  # SQS may hand out less than there is
