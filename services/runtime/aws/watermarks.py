"""Watermarks in DynamoDB: one item each, moved by compare-and-swap on its version."""

from typing import TYPE_CHECKING, Any

from services.runtime.aws import stamped
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, from_item
from services.runtime.aws.stamped import Written
from services.runtime.aws.tables import get
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError
from services.runtime.watermarks import Watermark

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

NEVER_WRITTEN = "attribute_not_exists(#version)"
AT_VERSION = "#version = :expected"
NOT_BACKWARDS = "(attribute_not_exists(#cursor) OR #cursor <= :cursor)"

RECORD = "#version = :version, #run_id = :run_id, #updated_at = :updated_at"
POSITION = ("cursor", "complete_until")
"""What says where a watermark stands; a write replaces all of it."""


class DynamoWatermarks:
    """``Watermarks`` over one table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def read(self, name: str) -> Watermark | None:
        """The watermark as last written (consistent read), or None if it was never written."""
        item = await get(self._client, self._table, {"watermark": name})
        return _watermark(item) if item else None

    async def advance(
        self, name: str, cursor: str, *, expected_version: int, run_id: str, complete_until: str | None = None
    ) -> Watermark:
        """Move forward to ``cursor``: conditional on the version, and on not going backwards as text.

        Raises:
            ConflictError: one of the two does not hold; the text says which.
            TemporaryError, UnreachableError: the outcome is unknown; read the watermark before repeating.
        """
        moved = {"cursor": cursor} | ({} if complete_until is None else {"complete_until": complete_until})
        return await self._swap(name, moved, expected_version, run_id, rule=NOT_BACKWARDS)

    async def reset(self, name: str, cursor: str | None, *, expected_version: int, run_id: str) -> Watermark:
        """Set to any value, or to None to start over: conditional on the version only.

        Raises:
            ConflictError: the version is not the expected one.
            TemporaryError, UnreachableError: the outcome is unknown; read the watermark before repeating.
        """
        moved = {} if cursor is None else {"cursor": cursor}
        return await self._swap(name, moved, expected_version, run_id, rule=None)

    async def list(self) -> list[Watermark]:
        """Every watermark, by name (consistent scan: there is one item for each pipeline)."""
        found: list[Watermark] = []
        start: dict[str, Any] = {}
        while True:
            with translated(f"Scan {self._table}"):
                page = await self._client.scan(TableName=self._table, ConsistentRead=True, **start)
            found.extend(_watermark(from_item(item)) for item in page.get("Items", ()))
            last = page.get("LastEvaluatedKey")
            if not last:
                break
            start = {"ExclusiveStartKey": last}
        return sorted(found, key=lambda watermark: watermark.name)

    async def _swap(
        self, name: str, moved: dict[str, str], expected_version: int, run_id: str, *, rule: str | None
    ) -> Watermark:
        first = expected_version == 0
        values = {"version": expected_version + 1, "run_id": run_id, "updated_at": self._clock.now().isoformat()}
        outcome = await stamped.write(
            self._client,
            self._table,
            {"watermark": name},
            assign=", ".join([RECORD, *(f"#{part} = :{part}" for part in moved)]),
            remove=", ".join(f"#{part}" for part in POSITION if part not in moved),
            condition=" AND ".join(filter(None, (NEVER_WRITTEN if first else AT_VERSION, rule))),
            values=values | moved | ({} if first else {"expected": expected_version}),
        )
        if isinstance(outcome, Written):
            return _watermark(outcome.item)
        item = outcome.item or {}
        version = item.get("version", 0)
        if version != expected_version:
            raise ConflictError(
                f"watermark {name}: at version {version} (run {item.get('run_id')}), not {expected_version}"
            )
        raise ConflictError(f"watermark {name}: {moved.get('cursor')!r} would go back from {item.get('cursor')!r}")


def _watermark(item: Item) -> Watermark:
    return Watermark(
        name=item["watermark"],
        cursor=item.get("cursor"),
        version=item["version"],
        run_id=item["run_id"],
        updated_at=item["updated_at"],
        complete_until=item.get("complete_until"),
    )
