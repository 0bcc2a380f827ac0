"""Events for planner and fetcher that need permissions: ``trials`` says which.

Each makes an event that was never there before. Most end in themselves: runs that were made for the purpose and end
with it, plans that are only shown, requests that are refused for another reason.
"""

from contracts.fetching import FetchSegment, KeyRange
from contracts.fields import EntityField
from contracts.loads import FetchSlice, Slice
from contracts.runs import CollectPayload, LoadPayload, LoadType, PlanRun, RunMode
from tests.deploy.forging import AGAIN, ENTITY, PORTAL, VISITS, Forge, Trial


async def a_scan(forge: Forge) -> Trial:
    """A scan that finds everything settled."""
    await forge.upload("merged")
    run_id = forge.new("scan")
    return Trial(forge.command("plan-requests", PlanRun(pipeline=VISITS, run_id=run_id), run_id))


async def a_replay(forge: Forge) -> Trial:
    """Another judgement of an upload that is merged."""
    again, run_id = [await forge.upload("merged")], forge.new("replay")
    command = PlanRun(pipeline=VISITS, run_id=run_id, mode=RunMode.REPLAY, occurrences=again)
    return Trial(forge.command("plan-requests", command, run_id))


async def a_preview_of_rows(forge: Forge) -> Trial:
    """A plan of a collecting run that is only shown."""
    run_id = forge.new("preview")
    command = PlanRun(pipeline=PORTAL, run_id=run_id, dry_run=True, collect=CollectPayload(max_records=1))
    return Trial(forge.command("plan-requests", command, run_id), run_id)


async def a_preview_of_a_load(forge: Forge) -> Trial:
    """A plan of a load that is only shown."""
    run_id, load = forge.new("preview"), LoadPayload(load_type=LoadType.FULL)
    command = PlanRun(pipeline=ENTITY, run_id=run_id, dry_run=True, load=load)
    return Trial(forge.command("plan-requests", command, run_id), run_id)


async def a_load_that_failed(forge: Forge) -> Trial:
    """A request for a load that has failed, which may have been told to nobody."""
    run_id = await forge.failed_run(ENTITY)
    return Trial(forge.command("plan-requests", PlanRun(pipeline=ENTITY, run_id=run_id), run_id))


def _range(forge: Forge, run_id: str) -> FetchSegment:
    return FetchSegment(
        pipeline=PORTAL,
        run_id=run_id,
        segment_id="trial",
        run_date=forge.session.clock.now().date().isoformat(),
        range=KeyRange(start="1990-01-01T00:00:00.000", before="1990-01-01T00:00:01.000"),
        expected_rows=0,
    )


async def a_range(forge: Forge) -> Trial:
    """A range of the portal from before its first row."""
    run_id = await forge.run_of_one(PORTAL, RunMode.INCREMENTAL, "trial")
    return Trial(forge.command("fetch-segments", _range(forge, run_id), run_id))


async def a_slice(forge: Forge) -> Trial:
    """A slice of a column that its table does not have, so that it is asked and refuses."""
    run_id = await forge.run_of_one(ENTITY, RunMode.INCREMENTAL, "trial")
    command = FetchSlice(
        pipeline=ENTITY,
        run_id=run_id,
        segment_id="trial",
        run_date=forge.session.clock.now().date().isoformat(),
        load_type=LoadType.INCREMENTAL,
        fields=[EntityField(name="not_there", type="string")],
        slice=Slice(start="1990-01-01T00:00:00.000000", end="1990-01-02T00:00:00.000000"),
        expected_rows=0,
    )
    return Trial(forge.command("fetch-segments", command, run_id))


async def a_range_of_a_failed_run(forge: Forge) -> Trial:
    """A command of a run that has failed, whose receiver may have died before it said so."""
    run_id = await forge.failed_run(PORTAL)
    return Trial(forge.command("fetch-segments", _range(forge, run_id), run_id, receives=AGAIN))
