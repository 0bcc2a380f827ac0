"""Versions of entities' fields, in the table of observed columns, each entity under a partition of its own."""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from contracts.fields import EntityField
from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, to_item
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError
from services.runtime.schemas import RecordedSchema

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

ABSENT = "attribute_not_exists(#column)"
PARTITION = "@versions"
"""Ends the partition key; no entity's name may have it."""
DIGITS = 8
"""Versions sort as text."""


class DynamoEntitySchemas:
    """``EntitySchemas`` over the schemas table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def latest(self, entity: str) -> RecordedSchema | None:
        """See the port."""
        newest = tables.query(
            self._client, self._table, "#entity = :entity", {"entity": _partition(entity)}, forward=False, limit=1
        )
        async for item in newest:
            return _read(item)
        return None

    async def record(
        self, entity: str, fields: Collection[EntityField], *, version: int, run_id: str
    ) -> RecordedSchema:
        """See the port; a write whose answer was lost is recognised by its run."""
        text = json.dumps([each.model_dump() for each in fields], separators=(",", ":"))
        key = {"entity": _partition(entity), "column": f"{version:0{DIGITS}d}"}
        item = key | {"fields": text, "run_id": run_id, "recorded_at": self._clock.now().isoformat()}
        try:
            with translated(f"PutItem {self._table} {entity} version {version}"):
                await self._client.put_item(
                    TableName=self._table,
                    Item=to_item(item),
                    ConditionExpression=ABSENT,
                    ExpressionAttributeNames=tables.aliases(ABSENT),
                )
        except ConflictError:
            there = await tables.get(self._client, self._table, key)
            if there is None or there["run_id"] != run_id or there["fields"] != text:
                raise
            item = there
        return _read(item)

    async def history(self, entity: str) -> list[RecordedSchema]:
        """See the port."""
        values = {"entity": _partition(entity)}
        return [_read(item) async for item in tables.query(self._client, self._table, "#entity = :entity", values)]


def _partition(entity: str) -> str:
    return f"{entity}{PARTITION}"


def _read(item: Item) -> RecordedSchema:
    fields = tuple(EntityField.model_validate(each) for each in json.loads(item["fields"]))
    return RecordedSchema(int(item["column"]), fields, item["run_id"], item["recorded_at"])
