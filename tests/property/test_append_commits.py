"""The commit protocol keeps its promises when the swap is the completion of a multipart upload, too."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Sizes
from services.merger.adapters.strategies import BySize
from services.merger.ports import Ports as MergerPorts
from tests.fakes.multipart import FakeMultipart
from tests.fakes.objects import FakeObjects
from tests.property.world.faults import Blow
from tests.property.world.machine import machine
from tests.property.world.processes import Mutation
from tests.property.world.walks import MEANWHILE, walk_pauses, walk_strikes

pytestmark = pytest.mark.usefixtures("quiet")

MERGES = ("merge", "second-merge", "later-merge", "restore", "restore-undone", "recovery")


class Appending(Mutation):
    """A merger that appends from the first byte on, in groups of two rows and parts of a few bytes."""

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """See ``Mutation``."""
        assert isinstance(ports.objects, FakeObjects)
        multipart = FakeMultipart(ports.objects, smallest=100)
        stores = Stores(ports.objects, multipart, part_min=100, part_bytes=2_000)
        sizes = Sizes(target=2, most_groups=4, window_bytes=5_000, ending_bytes=2_000)
        return replace(ports, strategy=BySize(stores, append_from=0, sizes=sizes))


@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
async def test_trouble_at_any_exchange(blow: Blow) -> None:
    """After trouble at any exchange, parts included, the redelivered batch ends as if nothing had happened."""
    assert await walk_strikes("second-merge", blow, one_by_one=False, mutation=Appending()) >= 15


@pytest.mark.soak
@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
@pytest.mark.parametrize("stage", MERGES)
async def test_trouble_at_any_exchange_of_every_merge(stage: str, blow: Blow) -> None:
    """The same for every kind of merge and restore, whatever company the messages come back in."""
    for one_by_one in (False, True):
        await walk_strikes(stage, blow, one_by_one=one_by_one, mutation=Appending())


@pytest.mark.parametrize("meanwhile", ["others-take-over", "undone-and-done-again"])
async def test_a_process_sleeps_between_its_parts(meanwhile: str) -> None:
    """A merger that slept through the commits of others, and through a restore, cannot complete its upload."""
    assert await walk_pauses("second-merge", meanwhile, mutation=Appending()) >= 15


@pytest.mark.soak
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("stage", MERGES)
async def test_a_process_sleeps_anywhere(stage: str, meanwhile: str) -> None:
    """The same for every kind of merge and restore, and whatever happens meanwhile."""
    await walk_pauses(stage, meanwhile, mutation=Appending())


@pytest.mark.soak
def test_random_walks() -> None:
    """Uploads, scans, restores, replays, deaths, losses and pauses in any order, over appends."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            machine(runner, Appending()),
            settings=settings(max_examples=150, deadline=None, stateful_step_count=40, suppress_health_check=checks),
        )
