"""``tidegate doctor`` on schedules, functions, secrets and runs: one thing broken, one line changed."""

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.runs import RunMode, RunState
from services.console.commands.checks.findings import Finding, State
from services.console.commands.checks.functions import check_functions, find_functions
from services.console.commands.checks.runs import check_runs
from services.console.commands.checks.schedules import check_schedules
from services.console.commands.checks.secrets import check_secrets
from services.console.commands.checks.settings import check_settings
from services.console.commands.checks.world import World
from services.console.local.emulator import Emulator
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.clock import SystemClock
from services.runtime.ledger import Run
from tests.integration.doctor_support import ROLE, SMALL, Bench, Break, changed, open_bench, queue_url, states


@pytest.fixture(scope="module")
def opened(emulator: Emulator) -> Iterator[Bench]:
    """The clients of this module."""
    with open_bench(emulator) as bench:
        yield bench


@pytest.fixture
def small(opened: Bench) -> Bench:
    """A stack with one of each kind of resource."""
    opened.begin()
    return opened


async def _schedules(world: World) -> None:
    await world.scheduler.create_schedule_group(Name=world.settings.stack)
    await world.clients.sqs.create_queue(QueueName=world.name("schedules-dlq"))
    await _schedule(world)


async def _schedule(world: World, **changes: Any) -> None:
    group = world.settings.stack
    target = {
        "Arn": (await world.queue("merge-segments"))["QueueArn"].replace("merge-segments", "plan-requests"),
        "RoleArn": ROLE,
        "Input": '{"body": {"pipeline": "nyc_311"}}',
    }
    given = {
        "GroupName": group,
        "Name": "daily",
        "ScheduleExpression": "cron(0 6 * * ? *)",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }
    create = world.scheduler.update_schedule if changes else world.scheduler.create_schedule
    await create(**given | changes)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"ScheduleExpression": "cron(0 7 * * ? *)"}, State.FAILED),
        ({"Target": {"Arn": "arn:aws:sqs:us-east-1:1:other", "RoleArn": ROLE, "Input": "{}"}}, State.FAILED),
        ({"State": "DISABLED"}, State.WARNING),
    ],
)
def test_a_schedule_that_is_not_as_declared(small: Bench, changes: dict[str, Any], state: State) -> None:
    """Another time or another queue fails a schedule; one that is switched off is somebody's decision."""
    small.run(_schedules(small.world))
    assert changed(small, check_schedules, lambda world: _schedule(world, **changes)) == {"schedule daily": state}


def test_a_slot_that_could_not_be_delivered_is_a_warning(small: Bench) -> None:
    """What the scheduler gave up on is a run that did not begin."""

    async def breaking(world: World) -> None:
        await world.clients.sqs.send_message(QueueUrl=await queue_url(world, "schedules-dlq"), MessageBody="{}")

    small.run(_schedules(small.world))
    assert changed(small, check_schedules, breaking) == {"queue schedules-dlq: is empty": State.WARNING}


def _package() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): return {}\n")
    return content.getvalue()


async def _functions(world: World) -> None:
    """The functions of the small stack, fed as declared."""
    for service in world.services:
        queues = [queue for queue in SMALL.queues if queue.consumer == service]
        await world.lambdas.create_function(
            FunctionName=world.function_name(service),
            Runtime="python3.12",
            Role=ROLE,
            Handler="handler.handle",
            Code={"ZipFile": _package()},
            Timeout=max(queue.timeout_s for queue in queues),
            MemorySize=1024,
            Environment={"Variables": {"TIDEGATE_STACK": world.settings.stack, "POWERTOOLS_SERVICE_NAME": service}},
        )
        for queue in queues:
            await world.lambdas.create_event_source_mapping(
                EventSourceArn=(await world.queue(queue.name))["QueueArn"],
                FunctionName=world.function_name(service),
                BatchSize=queue.batch_size,
                MaximumBatchingWindowInSeconds=queue.batch_window_s,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                ScalingConfig={"MaximumConcurrency": queue.maximum_concurrency},
            )


async def _look_at_functions(world: World) -> list[Finding]:
    world.functions.clear()
    missing = await find_functions(world)
    found = await check_functions(world, missing)
    built = (": size", ": layers")  # they depend on what was built on this machine; the unit tests have them
    return [finding for finding in found if not finding.check.endswith(built)]


async def _look_at_settings(world: World) -> list[Finding]:
    world.functions.clear()
    await find_functions(world)
    return await check_settings(world)


def configured(**values: Any) -> Break:
    """Change the merger's configuration."""

    async def breaking(world: World) -> None:
        await world.lambdas.update_function_configuration(FunctionName=world.function_name("merger"), **values)

    return breaking


def variables(**values: str) -> Break:
    """Change the merger's environment."""

    async def breaking(world: World) -> None:
        given = {"TIDEGATE_STACK": world.settings.stack, **values}
        await configured(Environment={"Variables": given})(world)

    return breaking


def fed(**values: Any) -> Break:
    """Change how the merger is fed."""

    async def breaking(world: World) -> None:
        answer = await world.lambdas.list_event_source_mappings(FunctionName=world.function_name("merger"))
        await world.lambdas.update_event_source_mapping(UUID=answer["EventSourceMappings"][0]["UUID"], **values)

    return breaking


@pytest.mark.parametrize(
    ("breaking", "line", "state"),
    [
        (configured(Timeout=60), "function merger: timeout", State.FAILED),
        (configured(MemorySize=128), "function merger: memory", State.WARNING),
        (fed(FunctionResponseTypes=[]), "function merger: fed by merge-segments", State.FAILED),
        (fed(BatchSize=500), "function merger: fed by merge-segments", State.FAILED),
        (fed(MaximumBatchingWindowInSeconds=300), "function merger: fed by merge-segments", State.FAILED),
        (fed(ScalingConfig={"MaximumConcurrency": 50}), "function merger: fed by merge-segments", State.FAILED),
    ],
)
def test_a_function_that_is_not_as_declared(small: Bench, breaking: Break, line: str, state: State) -> None:
    """Each setting of a function, and each queue that feeds it, has a line of its own."""
    small.run(_functions(small.world))
    assert changed(small, _look_at_functions, breaking) == {line: state}


@pytest.mark.parametrize(
    ("breaking", "line", "state"),
    [
        (variables(TIDEGATE_STACK="another"), "settings merger", State.FAILED),
        (variables(TIDEGATE_LEASE_TLL_S="90"), "settings merger: variables", State.FAILED),
        (variables(TIDEGATE_LEASE_TTL_S="400"), "settings merger: lease", State.WARNING),
        (variables(TIDEGATE_LEASE_TTL_S="2000"), "settings merger: lease", State.FAILED),
    ],
)
def test_an_environment_that_does_not_fit(small: Bench, breaking: Break, line: str, state: State) -> None:
    """A variable that is misspelt, refused, of another stack or out of proportion has a line of its own."""
    small.run(_functions(small.world))
    assert changed(small, _look_at_settings, breaking) == {line: state}


def test_a_function_that_is_missing_among_others_fails(small: Bench) -> None:
    """Where some services are functions, all of them must be; where none is, they are workers."""
    alone = small.run(states(_look_at_functions, small.world))
    assert alone["function merger"] is State.NOT_CHECKED
    small.run(_functions(small.world))

    async def breaking(world: World) -> None:
        await world.lambdas.delete_function(FunctionName=world.function_name("chunk_worker"))

    found = changed(small, _look_at_functions, breaking)
    assert found["function chunk_worker"] is State.FAILED


def test_a_secret_that_is_missing_fails_and_its_value_is_never_shown(small: Bench) -> None:
    """A declaration's secret must be readable; what it holds is in no line."""

    async def work(world: World) -> list[Finding]:
        await world.clients.secretsmanager.create_secret(Name="there", SecretString="hunter2")
        needed = {"there": ["shop.orders"], "nowhere": ["shop.items"], "perhaps": ["report?"], "${NAME}": ["shop.api"]}
        return await check_secrets(world, needed)

    found: list[Finding] = small.run(work(small.world))
    assert [each.state for each in found] == [State.OK, State.FAILED, State.OK, State.WARNING]
    assert "hunter2" not in str(found)
    assert "shop.items" in found[1].advice


def test_a_run_that_is_blocked_is_a_warning_and_says_why(small: Bench) -> None:
    """A run that waits for a person has a line of its own with its reason."""

    async def breaking(world: World) -> None:
        ledger = DynamoLedger(world.clients.dynamodb, world.name("ledger"), SystemClock())
        now = datetime.now(UTC).isoformat()
        await ledger.open_run(Run("run-1", "nyc_311", RunMode.INCREMENTAL, RunState.PLANNING, now))
        assert await states(check_runs, world) == {"run run-1": State.OK}
        await ledger.block_run("run-1", "the source answers 403")

    assert changed(small, check_runs, breaking) == {"run run-1": State.WARNING}
