"""Columns that sources were seen with, in one DynamoDB table keyed by entity and column.

Any text can be a column of somebody's JSON. What cannot be a key as it stands (nothing, too much, or no Unicode text)
goes by its digest, with a readable form beside it.
"""

from collections.abc import Collection
from hashlib import sha256
from typing import TYPE_CHECKING

from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, to_item
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError
from services.runtime.schemas import SeenColumn

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

UNSEEN = "attribute_not_exists(#column)"
KEY_BYTES = 1_000
"""DynamoDB takes sort keys of at most 1024 bytes."""
DIGEST = "sha256:"
IN_FLIGHT = 16
"""Columns entered side by side by one call."""


class DynamoObservedSchemas:
    """``ObservedSchemas`` over one table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def observe(self, entity: str, columns: Collection[str], *, run_id: str) -> list[str]:
        """Remember columns; those that nobody had seen before this run, sorted.

        Raises:
            TemporaryError, UnreachableError: some may have been remembered; repeating gives the full answer.
        """
        names = {_key(column): column for column in columns}
        keys = [_item_key(entity, key) for key in names]
        known = {item["column"]: item for item in await tables.batch_get(self._client, self._table, keys)}

        async def enter(key: str) -> None:
            known[key] = await self._enter(entity, key, names[key], run_id)

        await tables.each([key for key in names if key not in known], enter, limit=IN_FLIGHT)
        return sorted(column for key, column in names.items() if known[key]["run_id"] == run_id)

    async def list(self, entity: str) -> list[SeenColumn]:
        """Every undeclared column seen so far, by name (consistent read)."""
        found = [
            SeenColumn(item["name" if "name" in item else "column"], item["run_id"], item["seen_at"])
            async for item in tables.query(self._client, self._table, "#entity = :entity", {"entity": entity})
        ]
        return sorted(found, key=lambda seen: seen.column)

    async def _enter(self, entity: str, key: str, column: str, run_id: str) -> Item:
        """What the table holds of a column afterwards: this run's sighting, or one that came before."""
        item = _item_key(entity, key) | {"run_id": run_id, "seen_at": self._clock.now().isoformat()}
        if key != column:
            item["name"] = readable(column)
        try:
            with translated(f"PutItem {self._table} {entity} {key}"):
                await self._client.put_item(
                    TableName=self._table,
                    Item=to_item(item),
                    ConditionExpression=UNSEEN,
                    ExpressionAttributeNames=tables.aliases(UNSEEN),
                )
        except ConflictError:
            # Another run's, or ours: by another segment, or by a first try whose answer was lost.
            seen = await tables.get(self._client, self._table, _item_key(entity, key))
            if seen is None:
                raise
            return seen
        return item


def readable(column: str) -> str:
    """A column's name for people: in full up to some length, with escapes for what is not Unicode text."""
    return column[:KEY_BYTES].encode(errors="backslashreplace").decode()


def _item_key(entity: str, key: str) -> Item:
    return {"entity": entity, "column": key}


def _key(column: str) -> str:
    encoded = column.encode(errors="surrogatepass")
    plain = 0 < len(encoded) <= KEY_BYTES and encoded == column.encode(errors="replace")
    if plain and not column.startswith(DIGEST):
        return column
    return DIGEST + sha256(encoded).hexdigest()
