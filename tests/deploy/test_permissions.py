"""No statement of a role is idle: without any one of them, something is denied that was allowed before."""

import time
from collections.abc import Mapping

import pytest

from infra.packages.declared import read_packages
from tests.deploy.asking import Asking, eventually
from tests.deploy.flows import start

pytestmark = pytest.mark.deploy

SERVICES = tuple(read_packages().functions)
MS_PER_S = 1_000
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
        "PlannerRecordsSchemas": "load",
        "PlannerSharesTheBudget": "collection",
        "PlannerSendsCommands": "collection",
        "PlannerFindsTheTopic": "scan",
        "PlannerAnnouncesFacts": "scan",
        "PlannerReadsItsSecrets": "load",
    },
    "fetcher": {
        "FetcherWritesRaw": "collection",
        "FetcherSettlesInTheLedger": "collection",
        "FetcherSharesTheBudget": "collection",
        "FetcherReadsItsSecrets": "load",
    },
    "validator": {
        "ValidatorReadsRaw": "good upload",
        "ValidatorWritesSegments": "good upload",
        "ValidatorFillsQuarantine": "bad upload",
        "ValidatorSettlesInTheLedger": "good upload",
        "ValidatorAnnouncesFacts": "collection",
    },
    "merger": {
        "MergerReadsSegments": "good upload",
        "MergerWritesTables": "good upload",
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
        "ChunkWorkerSettlesInTheLedger": "report",
        "ChunkWorkerAnswersStateMachines": "machine",
        "ChunkWorkerAnnouncesFacts": "report",
        "ChunkWorkerFindsTheTopic": "report",
        "ChunkWorkerReadsItsSecrets": "report",
    },
}
"""What is started without a statement, and must be denied: by service and statement."""
COLD = ("FindsTheTopic", "ReadsItsSecrets")
"""A container remembers what it found or read: only a new one asks again."""

UNJUDGED: Mapping[str, str] = {}
"""Statements that are not tried, and why."""


@pytest.mark.parametrize(
    ("service", "sid", "flow"), [(service, sid, flow) for service in WITHOUT for sid, flow in WITHOUT[service].items()]
)
async def test_a_statement_is_needed(asking: Asking, service: str, sid: str, flow: str) -> None:
    """What is allowed with it is denied without it."""
    group = f"/aws/lambda/{asking.function(service)}"
    if sid.endswith(COLD):
        await asking.make_cold(service)

    async def denied() -> bool:
        found = await asking.logs.filter_log_events(logGroupName=group, startTime=began)
        return any(word in event["message"] for event in found["events"] for word in DENIED)

    began = int(time.time() * MS_PER_S)
    async with asking.without(service, "service", sid):
        assert not await denied()
        await start(asking, flow)
        await eventually(denied, f"{service} is denied {sid}", 60)
