"""A planner as it is deployed, over the emulated stack and a real PostgreSQL server: the shop's group, once."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from contracts.catalog import FETCHER_COMMANDS, PLANNER_COMMANDS
from contracts.envelope import Message, Payload, open_message
from contracts.loads import FetchSlice
from contracts.runs import LoadType, PlanRun, RunState
from services.console.demo.shop_tables import TABLES
from services.planner.bootstrap import build
from services.runtime.aws.clients import Clients
from services.runtime.aws.entity_schemas import DynamoEntitySchemas
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.clock import SystemClock
from services.runtime.deliveries import BatchHandler, Delivery
from tests.emulator_support import Stack
from tests.postgres_support import Database


async def received(clients: Clients, stack: Stack, queue: str) -> list[str]:
    """Everything that waits in a queue; it is taken out."""
    url = (await clients.sqs.get_queue_url(QueueName=f"{stack.name}-{queue}"))["QueueUrl"]
    bodies: list[str] = []
    while messages := (await clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages", []):
        for message in messages:
            bodies.append(message["Body"])
            await clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


async def handle(plan: BatchHandler, bodies: Sequence[str]) -> None:
    """Hand requests to the planner, which must do all of them."""
    outcome = await plan([Delivery(str(n), body) for n, body in enumerate(bodies)])
    assert not outcome.failed, outcome.reasons


def wrapped(payload: Payload) -> str:
    """A request as an operator sends it."""
    now = SystemClock().now()
    return Message.wrap(payload, message_id=uuid4(), run_id="operator", occurred_at=now).model_dump_json()


async def test_the_shop_is_planned(
    stack: Stack, clients: Clients, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four tables are planned from the server's own columns; the APIs, of which nobody said where they are, fail."""
    database.run(*TABLES)
    database.run(
        "INSERT INTO orders SELECT n, n, 'paid', 1, 'EUR', NULL, '{}', NULL, NULL, now(), now() - interval '1 minute'"
        " FROM generate_series(1, 9) n"
    )
    await clients.secretsmanager.create_secret(Name="shop-db", SecretString=database.secret)
    monkeypatch.setenv("RDS_SECRET_ARN", "shop-db")
    monkeypatch.setenv("LOAD_TYPE", "incremental")
    monkeypatch.delenv("PAYMENTS_API_URL", raising=False)
    ledger = DynamoLedger(clients.dynamodb, f"{stack.name}-ledger", SystemClock())
    async with build() as plan:
        await handle(plan, [wrapped(PlanRun(pipeline="ecommerce", run_id="g"))])
        requests = await received(clients, stack, "plan-requests")
        assert len([open_message(body, PLANNER_COMMANDS) for body in requests]) == 6
        await handle(plan, requests)
    commands = {}
    for body in await received(clients, stack, "fetch-segments"):
        _, command = open_message(body, FETCHER_COMMANDS)
        assert isinstance(command, FetchSlice)
        commands[command.pipeline] = command
    assert sorted(commands) == [f"ecommerce.{name}" for name in ("customers", "order_items", "orders", "products")]
    orders = commands["ecommerce.orders"]
    assert (orders.load_type, orders.expected_rows, orders.run_id) == (LoadType.FULL, 9, "g.orders")
    assert {field.name: field.type for field in orders.fields}["discount"] == "decimal(5,4)"
    payments = await ledger.run("g.payments")
    assert payments is not None
    assert (payments.state, payments.reason) == (
        RunState.FAILED,
        "source.url needs PAYMENTS_API_URL, which is not set",
    )
    group = await ledger.run("g")
    assert group is not None
    assert (group.state, len(group.children)) == (RunState.PLANNING, 6)
    schemas = DynamoEntitySchemas(clients.dynamodb, f"{stack.name}-schemas", SystemClock())
    recorded = await schemas.latest("ecommerce.orders#orders")
    assert recorded is not None
    assert (recorded.version, list(recorded.fields)) == (1, orders.fields)
