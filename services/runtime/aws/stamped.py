"""Conditional writes that can tell their own success from a conflict.

The SDK repeats a request whose answer it did not get. If the first try had succeeded, the second fails on the
condition that the first one changed, and the caller hears "conflict" about its own write. So each write puts a
``write_id`` of its own into the item, and a failure is only believed after a consistent read has not found it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, from_item, to_item
from services.runtime.aws.tables import aliases, get
from services.runtime.failures import ConflictError, TemporaryError, UnreachableError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

STAMP = "#write_id = :write_id"


@dataclass(frozen=True, slots=True)
class Written:
    """The write happened; ``item`` is what it left (or, if its answer was lost, what a read found)."""

    item: Item


@dataclass(frozen=True, slots=True)
class Refused:
    """The write did not happen; ``item`` is what stood in its way, None if there is no item."""

    item: Item | None


async def write(
    client: "DynamoDBClient",
    table: str,
    key: Mapping[str, Any],
    *,
    assign: str,
    remove: str = "",
    condition: str,
    values: Mapping[str, Any],
) -> Written | Refused:
    """Update one item on a condition. Expressions name attributes as ``#name`` and values as ``:name``.

    ``assign`` and ``remove`` are the lists after SET and REMOVE; the stamp is added to the first.

    Raises:
        TemporaryError, UnreachableError: the write failed and was not found; it may still arrive.
        AccessDeniedError, MissingObjectError, PermanentError: the table refused.
    """
    stamp = uuid4().hex
    expression = f"SET {assign}, {STAMP}" + (f" REMOVE {remove}" if remove else "")
    what = f"UpdateItem {table} {dict(key)}"
    failure: ConflictError | TemporaryError | UnreachableError
    try:
        with translated(what):
            answer = await client.update_item(
                TableName=table,
                Key=to_item(key),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=aliases(expression, condition),
                ExpressionAttributeValues=to_item(
                    {f":{name}": value for name, value in values.items()} | {":write_id": stamp}
                ),
                ReturnValues="ALL_NEW",
            )
    except (ConflictError, TemporaryError, UnreachableError) as error:
        failure = error
    else:
        return Written(from_item(answer["Attributes"]))
    found = await get(client, table, key)
    if found is not None and found.get("write_id") == stamp:
        return Written(found)
    if isinstance(failure, ConflictError):
        return Refused(found)
    raise failure
