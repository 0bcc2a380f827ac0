"""Plans in the state bucket."""

from datetime import date
from hashlib import sha256

import pytest

from contracts.chunks import ChunkKeys, ChunkPlan, PlannedChunk
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.failures import MalformedError, MissingObjectError, UnreachableError
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, ScriptedNetwork
from tests.fakes.objects import FakeObjects

KEYS = ChunkKeys(columns=["day", "ssn"], values=[["2026-01-01"] * 3, ["O'Hara", None, "Ünï"]], rows=[3, 2, 1])
PLAN = ChunkPlan(
    run_id="r1",
    pipeline="report",
    first_day=date(2024, 1, 1),
    last_day=date(2026, 1, 31),
    rows=6,
    keys=3,
    chunks=[PlannedChunk(chunk_id="0", rows=6, keys=3, sha256="0" * 64)],
    warnings=["one (day, ssn) has 60,000 rows"],
)


@pytest.fixture
def objects() -> FakeObjects:
    """A state bucket."""
    return FakeObjects({"state": False})


@pytest.fixture
def plans(objects: FakeObjects) -> StoredChunkPlans:
    """The plans in it."""
    return StoredChunkPlans(objects, "state")


async def test_keys_are_read_as_they_were_kept(objects: FakeObjects, plans: StoredChunkPlans) -> None:
    """Quotes, letters of any script and NULL come back; the place says whose they are and what they must be."""
    digest = await plans.check_in("r1", KEYS)
    assert await plans.keys("r1", digest) == KEYS
    assert [info.key async for info in objects.list("state")] == [f"plans/r1/chunks/{digest}.json"]
    assert await plans.check_in("r1", KEYS) == digest


async def test_keys_that_are_missing_are_missing(plans: StoredChunkPlans) -> None:
    """The text says where they should be."""
    with pytest.raises(MissingObjectError, match="plans/r1/chunks/0000"):
        await plans.keys("r1", "0" * 64)


async def test_damaged_keys_are_refused(objects: FakeObjects, plans: StoredChunkPlans) -> None:
    """Whoever changed them, the digest of the plan says that these are not the keys."""
    digest = await plans.check_in("r1", KEYS)
    place = f"plans/r1/chunks/{digest}.json"
    body = (await objects.get("state", place)).body
    await objects.put("state", place, body.replace(b"3,2,1", b"3,2,2"))
    with pytest.raises(MalformedError, match="not what the plan of run r1 was made with"):
        await plans.keys("r1", digest)


async def test_keys_of_another_shape_are_refused(objects: FakeObjects, plans: StoredChunkPlans) -> None:
    """An object with the right digest can still be no list of keys; the text never shows what is in it."""
    secret = b'{"columns": ["ssn"], "values": [["123-45-6789"]], "rows": []}'
    digest = sha256(secret).hexdigest()
    await objects.put("state", f"plans/r1/chunks/{digest}.json", secret)
    with pytest.raises(MalformedError, match="is no list of keys") as refused:
        await plans.keys("r1", digest)
    assert "6789" not in str(refused.value)


async def test_a_plan_is_kept_once(plans: StoredChunkPlans) -> None:
    """The first one stands, and whoever comes later is handed it."""
    assert await plans.find("r1") is None
    assert await plans.keep(PLAN) == PLAN
    assert await plans.keep(PLAN.model_copy(update={"rows": 7})) == PLAN
    assert await plans.find("r1") == PLAN
    assert await plans.find("r2") is None


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
async def test_a_plan_is_kept_whatever_got_lost(objects: FakeObjects, fate: Fate) -> None:
    """Keeping it again after an unknown outcome gives the plan that is kept."""
    network = ScriptedNetwork()
    plans = StoredChunkPlans(objects.seen_by(Effects(network=network)), "state")
    network.next(fate)
    with pytest.raises(UnreachableError):
        await plans.keep(PLAN)
    assert await plans.keep(PLAN) == PLAN
    network.next(Fate.REPEATED)
    other = PLAN.model_copy(update={"run_id": "r2"})
    assert await plans.keep(other) == other


async def test_what_is_no_plan_is_refused(objects: FakeObjects, plans: StoredChunkPlans) -> None:
    """A plan that cannot be read is an operator's business, not a reason to make another one."""
    await objects.put("state", "plans/r1/plan.json", b'{"run_id": "r1"}')
    with pytest.raises(MalformedError, match=r"s3://state/plans/r1/plan.json is not a plan: pipeline"):
        await plans.find("r1")


async def test_a_bucket_that_is_missing_is_not_a_plan_that_is_missing(objects: FakeObjects) -> None:
    """Where the bucket is not there, nobody may take a run for one that was never planned."""
    with pytest.raises(MissingObjectError, match="nowhere"):
        await StoredChunkPlans(objects, "nowhere").find("r1")
