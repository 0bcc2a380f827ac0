"""What the DynamoDB adapters share: expressions, paging, batches and transactions with their retries."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from random import uniform
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from services.runtime.aws.errors import code_of, translated
from services.runtime.aws.items import Item, from_item, to_item
from services.runtime.failures import ConflictError, TemporaryError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

T = TypeVar("T")

GET_BATCH = 100
"""Most keys DynamoDB takes in one BatchGetItem."""
WRITE_BATCH = 25
"""Most items DynamoDB takes in one BatchWriteItem."""
IN_FLIGHT = 8
"""Batches sent side by side by one call."""
ATTEMPTS = 8
"""Tries before what DynamoDB puts off is left to the caller's redelivery."""
FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 3.0


def update(
    table: str,
    key: Mapping[str, Any],
    *,
    sets: Mapping[str, Any] | None = None,
    adds: Mapping[str, Any] | None = None,
    removes: Sequence[str] = (),
    condition: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of an UpdateItem. Every attribute goes by an alias, so none can be a reserved word.

    ``condition`` names attributes as ``#name`` and the entries of ``values`` as ``:name``. Attributes set to
    None are left as they are.
    """
    given = {name: value for name, value in (sets or {}).items() if value is not None}
    clauses = []
    if given:
        clauses.append("SET " + ", ".join(f"#{name} = :set_{name}" for name in given))
    if adds:
        clauses.append("ADD " + ", ".join(f"#{name} :add_{name}" for name in adds))
    if removes:
        clauses.append("REMOVE " + ", ".join(f"#{name}" for name in removes))
    expression = " ".join(clauses)
    arguments: dict[str, Any] = {
        "TableName": table,
        "Key": to_item(key),
        "UpdateExpression": expression,
        "ExpressionAttributeNames": aliases(expression, condition or ""),
        "ExpressionAttributeValues": to_item(
            {f":set_{name}": value for name, value in given.items()}
            | {f":add_{name}": value for name, value in (adds or {}).items()}
            | {f":{name}": value for name, value in (values or {}).items()}
        ),
    }
    if condition:
        arguments["ConditionExpression"] = condition
    return arguments


def aliases(*expressions: str) -> dict[str, str]:
    """The names that expressions refer to as ``#name``; DynamoDB refuses any that is not used."""
    return {f"#{name}": name for expression in expressions for name in re.findall(r"#(\w+)", expression)}


async def get(client: "DynamoDBClient", table: str, key: Mapping[str, Any]) -> Item | None:
    """One item as last written (consistent read), or None."""
    with translated(f"GetItem {table} {dict(key)}"):
        answer = await client.get_item(TableName=table, Key=to_item(key), ConsistentRead=True)
    item = answer.get("Item")
    return from_item(item) if item else None


async def query(
    client: "DynamoDBClient",
    table: str,
    condition: str,
    values: Mapping[str, Any],
    *,
    forward: bool = True,
    limit: int | None = None,
) -> AsyncIterator[Item]:
    """The items of a key condition (consistent read), in the order of the sort key; the first ``limit`` of them."""
    paging: dict[str, Any] = {}
    while limit is None or limit > 0:
        if limit is not None:
            paging["Limit"] = limit
        with translated(f"Query {table}"):
            answer = await client.query(
                TableName=table,
                KeyConditionExpression=condition,
                ExpressionAttributeNames=aliases(condition),
                ExpressionAttributeValues=to_item({f":{name}": value for name, value in values.items()}),
                ConsistentRead=True,
                ScanIndexForward=forward,
                **paging,
            )
        for item in answer["Items"]:
            yield from_item(item)
        if not answer.get("LastEvaluatedKey"):
            return
        paging["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        limit = None if limit is None else limit - len(answer["Items"])


async def batch_get(client: "DynamoDBClient", table: str, keys: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The items of distinct keys that exist (consistent reads), in no particular order."""
    found: list[Item] = []

    async def read(batch: Sequence[Mapping[str, Any]]) -> None:
        pending: Any = [to_item(key) for key in batch]
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            with translated(f"BatchGetItem {table}"):
                answer = await client.batch_get_item(RequestItems={table: {"Keys": pending, "ConsistentRead": True}})
            found.extend(from_item(item) for item in answer.get("Responses", {}).get(table, ()))
            put_off = answer.get("UnprocessedKeys", {}).get(table)
            pending = put_off["Keys"] if put_off else []
            if not pending:
                return
        raise TemporaryError(f"BatchGetItem {table}: {len(pending)} keys were put off {ATTEMPTS} times")

    await each(batches(keys, GET_BATCH), read, limit=IN_FLIGHT)
    return found


async def batch_put(client: "DynamoDBClient", table: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Put items of distinct keys unconditionally; on an error some of them may have been written."""

    async def write(batch: Sequence[Mapping[str, Any]]) -> None:
        pending: Any = [{"PutRequest": {"Item": to_item(item)}} for item in batch]
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            with translated(f"BatchWriteItem {table}"):
                answer = await client.batch_write_item(RequestItems={table: pending})
            pending = answer.get("UnprocessedItems", {}).get(table, [])
            if not pending:
                return
        raise TemporaryError(f"BatchWriteItem {table}: {len(pending)} items were put off {ATTEMPTS} times")

    await each(batches(items, WRITE_BATCH), write, limit=IN_FLIGHT)


async def transact(client: "DynamoDBClient", writes: Sequence[Mapping[str, Any]], what: str) -> None:
    """Write all or nothing; a collision with another transaction is tried again.

    Raises:
        ConflictError: a condition does not hold, or held only until the first of several tries won unheard.
    """
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        with translated(what):
            try:
                await client.transact_write_items(TransactItems=list(writes))  # type: ignore[arg-type]
            except ClientError as error:
                if code_of(error) != "TransactionCanceledException":
                    raise
                reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
                if "ConditionalCheckFailed" in reasons:
                    raise ConflictError(f"{what}: a condition does not hold") from error
                if not reasons & {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}:
                    raise
            else:
                return
    raise TemporaryError(f"{what}: collided with other transactions {ATTEMPTS} times")


def batches(values: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Consecutive slices of at most ``size``."""
    return (values[start : start + size] for start in range(0, len(values), size))


async def each(values: Iterable[T], action: Callable[[T], Awaitable[None]], *, limit: int) -> None:
    """Apply an action to every value, ``limit`` at once; the first error stops the rest and is raised."""
    remaining = iter(values)

    async def work() -> None:
        for value in remaining:
            await action(value)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def pause(attempt: int) -> None:
    """Wait before the attempt of this number: not before the first, then ever longer, with full jitter."""
    if attempt:
        longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**attempt)
        await asyncio.sleep(uniform(0, longest))  # noqa: S311 - spreads retries, keeps no secret
