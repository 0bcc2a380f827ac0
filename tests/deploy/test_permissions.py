"""No statement of a role is idle: what is allowed with all of them is denied without any one of them."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from contracts.topology import TOPOLOGY
from infra.packages.declared import read_packages
from services.runtime.settings import PROJECT
from tests.deploy.asking import Asking
from tests.deploy.forging import Forge, Remains, Trial
from tests.deploy.trials import TRIALS

pytestmark = pytest.mark.deploy

SERVICES = tuple(read_packages().functions)
MS_PER_S = 1_000
DENIED = ("AccessDenied", "not authorized", "AuthorizationError", "403: Forbidden")
"""How the services that AWS has say no; the answer to a HEAD has no body to say it in."""
COLD = ("FindsTheTopic", "ReadsItsSecrets")
"""A container remembers what it found or read: only a new one asks, and as long as it is denied."""
GIVES_BACK = "FunctionGivesMessagesBack"
"""Of every role: without it a failed message is not given back."""
ELSEWHERE = frozenset({GIVES_BACK, "MergerGivesUpUploads"})
"""Statements with tests of their own: below, and in ``test_growing.py``."""

UNJUDGED: Mapping[str, str] = {
    "FunctionConsumesItsQueues": "the emulator's event source mappings read queues without asking the role",
    "FunctionWritesItsLogs": "the emulator writes logs itself",
    "FunctionTraces": "the emulator has no X-Ray",
    "ValidatorTellsMissingFromForbidden": "the emulator says of an object that is gone that it is, whoever asks",
}
"""Statements that the emulator cannot judge, and why."""


@pytest.fixture(scope="module")
def remains() -> Remains:
    """What trials leave to the next ones."""
    return Remains()


@pytest.fixture
async def forge(asking: Asking, remains: Remains) -> AsyncIterator[Forge]:
    """Makes trials; chunks that were given up in one are not left to operators."""
    yield Forge(asking, remains)
    sqs = asking.session.clients.sqs
    url = (await sqs.get_queue_url(QueueName=asking.deployed.resource("chunk-jobs-dlq")))["QueueUrl"]
    await sqs.purge_queue(QueueUrl=url)


async def test_every_statement_is_accounted_for(asking: Asking) -> None:
    """Each is tried, or the documentation says that the emulator cannot judge it."""
    seen: set[str] = set()
    for service in SERVICES:
        found = {each["Sid"] for policy in ("base", "service") for each in await asking.statements(service, policy)}
        assert set(TRIALS[service]) <= found
        assert found - set(TRIALS[service]) <= ELSEWHERE | set(UNJUDGED)
        seen |= found
    assert ELSEWHERE | set(UNJUDGED) <= seen
    documented = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert all(f"`{sid}`" in documented for sid in UNJUDGED)


@pytest.mark.parametrize("service", SERVICES)
async def test_giving_back_is_needed(asking: Asking, service: str) -> None:
    """With the permission a receipt that nobody knows is refused; without it the function is."""
    queue = next(queue for queue in TOPOLOGY.queues if queue.consumer == service)

    async def told() -> str:
        failing = Trial(asking.event(queue.name, "{}", receipt="unknown"))
        return await what_is_told(asking, service, failing)

    assert not is_denied(await told())
    async with asking.without(service, "base", GIVES_BACK):
        assert is_denied(await told())


@pytest.mark.parametrize(("service", "sid"), [(service, sid) for service in TRIALS for sid in TRIALS[service]])
async def test_a_statement_is_needed(asking: Asking, forge: Forge, service: str, sid: str) -> None:
    """What is allowed with it is denied without it."""
    make = TRIALS[service][sid]
    async with AsyncExitStack() as stack:
        if service == "merger":
            await stack.enter_async_context(asking.resting(service))

        if sid.endswith(COLD):
            await asking.make_cold(service)
        denied = await make(forge)
        async with asking.without(service, "service", sid):
            assert is_denied(await what_is_told(asking, service, denied))
        allowed = await what_is_told(asking, service, await make(forge))
        assert not is_denied(allowed), allowed
        await asking.invoke(service, denied.event)  # as a queue would: nothing is left half done


async def what_is_told(asking: Asking, service: str, trial: Trial) -> str:
    """All that a function says of an event: its answer, its log, and the preview of a plan if it makes one."""
    began = int(time.time() * MS_PER_S)
    answer = await asking.invoke(service, trial.event)
    told = [json.dumps(answer.payload)]
    for record in trial.event.get("Records", []):
        found = await asking.lines(service, record["messageId"], since_ms=began)
        for invocation in {line["aws_request_id"] for line in found}:
            told += map(json.dumps, await asking.lines(service, invocation, since_ms=began))
    if trial.shown is not None:
        session = asking.session
        key = f"plans/{trial.shown}/preview.json"
        told.append((await session.objects.get(session.settings.resource("state"), key)).body.decode())
    return "\n".join(told)


def is_denied(told: str) -> bool:
    """Whether somebody said no."""
    return any(word in told for word in DENIED)
