"""No statement of a role is idle: without any one of them, something is denied that was allowed before."""

import asyncio
import time
from collections.abc import Mapping

import pytest

from contracts.runs import RunState
from contracts.topology import TOPOLOGY
from infra.packages.declared import read_packages
from tests.cli_support import done
from tests.deploy.asking import Asking, eventually
from tests.deploy.flows import start

pytestmark = pytest.mark.deploy

SERVICES = tuple(read_packages().functions)
JOB = "conflict_report"
MS_PER_S = 1_000
DENIED_WITHIN_S = 45.0
DENIED = ("AccessDenied", "not authorized", "AuthorizationError")
"""How the services that AWS has say no."""

WITHOUT: Mapping[str, Mapping[str, str]] = {
    "planner": {
        "PlannerFindsUploads": "scan",
        "PlannerKeepsPlans": "collection",
        "PlannerHoldsLeases": "scan",
        "PlannerWritesTheLedger": "scan",
        "PlannerMovesWatermarks": "collection",
        "PlannerFindsSettled": "scan",
        "PlannerReadsHeads": "scan",
        "PlannerRecordsSchemas": "load",
        "PlannerSharesTheBudget": "collection",
        "PlannerSendsCommands": "collection",
        "PlannerFindsTheTopic": "scan",
        "PlannerAnnouncesFacts": "scan",
        "PlannerReadsItsSecrets": "load",
    },
    "fetcher": {
        "FetcherWritesRaw": "collection",
        "FetcherTellsMissingFromForbidden": "collection",
        "FetcherSettlesInTheLedger": "collection",
        "FetcherSharesTheBudget": "collection",
        "FetcherReadsItsSecrets": "load",
    },
    "validator": {
        "ValidatorReadsRaw": "good upload",
        "ValidatorWritesSegments": "good upload",
        "ValidatorFillsQuarantine": "bad upload",
        "ValidatorSettlesInTheLedger": "good upload",
        "ValidatorRecordsColumns": "collection",
    },
    "merger": {
        "MergerReadsSegments": "good upload",
        "MergerWritesTables": "good upload",
        "MergerListsTables": "load",
        "MergerKeepsCommits": "good upload",
        "MergerHoldsLeases": "good upload",
        "MergerCommits": "good upload",
        "MergerMarksRows": "good upload",
        "MergerSettlesInTheLedger": "good upload",
        "MergerMovesWatermarks": "collection",
        "MergerAnnouncesFacts": "good upload",
        "MergerFindsTheTopic": "good upload",
    },
    "chunk_worker": {
        "ChunkWorkerReadsPlans": "report",
        "ChunkWorkerHoldsLeases": "report",
        "ChunkWorkerAnswersStateMachines": "machine",
        "ChunkWorkerAnnouncesFacts": "machine",
        "ChunkWorkerFindsTheTopic": "machine",
    },
}
"""What is started without a statement, and must be denied: by service and statement."""
COLD = ("FindsTheTopic", "ReadsItsSecrets")
"""A container remembers what it found or read: only a new one asks again."""

GIVES_BACK = "FunctionGivesMessagesBack"
"""Of every role: without it a failed message is not given back."""

NO_ROWS = "only a run that ends in this service needs it: its last segment has no rows that go on"
NOT_MISSING = "a short run looks for nothing that is not there"
LEFT_WAITING = "a run that is denied this keeps the next ones waiting until an operator acts"
UNJUDGED: Mapping[str, str] = {
    "FunctionConsumesItsQueues": "the emulator's event source mappings read queues without asking the role",
    "FunctionWritesItsLogs": "the emulator writes logs itself",
    "FunctionTraces": "the emulator has no X-Ray",
    "PlannerTellsMissingFromForbidden": NOT_MISSING,
    "PlannerLooksAtCheckpoints": "a scan reads a checkpoint only where nothing was committed to it yet",
    "PlannerShowsWatermarks": NO_ROWS,
    "FetcherMovesWatermarks": NO_ROWS,
    "FetcherShowsWatermarks": NO_ROWS,
    "FetcherAnnouncesFacts": NO_ROWS,
    "FetcherFindsTheTopic": NO_ROWS,
    "ValidatorTellsMissingFromForbidden": NOT_MISSING,
    "ValidatorRedeemsClaims": "a list that is too long for a message takes thousands of uploads",
    "ValidatorMovesWatermarks": NO_ROWS,
    "ValidatorShowsWatermarks": NO_ROWS,
    "ValidatorAnnouncesFacts": NO_ROWS,
    "ValidatorFindsTheTopic": NO_ROWS,
    "MergerSharesLargeLoads": "only a load of many parts is shared",
    "MergerGivesUpUploads": "an upload is given up only when its commit is",
    "ChunkWorkerTellsMissingFromForbidden": NOT_MISSING,
    "ChunkWorkerSettlesInTheLedger": LEFT_WAITING,
    "ChunkWorkerReadsItsSecrets": LEFT_WAITING,
    "ChunkWorkerGivesUpChunks": "a chunk is given up only after it has failed several times",
}
"""Statements that are not tried, and why."""


async def test_every_statement_is_accounted_for(asking: Asking) -> None:
    """Each is tried below, or there is a reason why not."""
    for service in SERVICES:
        found = [each["Sid"] for policy in ("base", "service") for each in await asking.statements(service, policy)]
        tried = {*WITHOUT[service], GIVES_BACK}
        assert tried <= set(found)
        assert [sid for sid in found if sid not in tried and sid not in UNJUDGED] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_giving_back_is_needed(asking: Asking, service: str) -> None:
    """With the permission a receipt that nobody knows is refused; without it the function is."""
    queue = next(queue for queue in TOPOLOGY.queues if queue.consumer == service)
    failing = asking.event(queue.name, "{}", receipt="unknown")
    began = int(time.time() * MS_PER_S)
    assert (await asking.invoke(service, failing)).failed
    assert not await is_denied(asking, service, began)
    async with asking.without(service, "base", GIVES_BACK):
        assert (await asking.invoke(service, failing)).failed

        async def denied() -> bool:
            return await is_denied(asking, service, began)

        await eventually(denied, f"{service} may not give back", DENIED_WITHIN_S)


@pytest.mark.parametrize(
    ("service", "sid", "flow"), [(service, sid, flow) for service in WITHOUT for sid, flow in WITHOUT[service].items()]
)
async def test_a_statement_is_needed(asking: Asking, service: str, sid: str, flow: str) -> None:
    """What is allowed with it is denied without it."""
    if service == "chunk_worker":
        # A chunk that was denied before may wait for an operator by now, and its run keeps other runs waiting.
        for run in await asking.session.ledger.runs():
            if run.pipeline == JOB and run.state is RunState.RUNNING:
                await asyncio.to_thread(done, "run", "cancel", run.run_id)
    if sid.endswith(COLD):
        await asking.make_cold(service)

    async def denied() -> bool:
        return await is_denied(asking, service, began)

    began = int(time.time() * MS_PER_S)
    async with asking.without(service, "service", sid):
        assert not await denied()
        await start(asking, flow)
        await eventually(denied, f"{service} is denied {sid}", DENIED_WITHIN_S)


async def is_denied(asking: Asking, service: str, since_ms: int) -> bool:
    """Whether a function has been denied anything since then, as its log says."""
    group = f"/aws/lambda/{asking.function(service)}"
    found = await asking.logs.filter_log_events(logGroupName=group, startTime=since_ms)
    return any(word in event["message"] for event in found["events"] for word in DENIED)
