"""Occurrence marks in one DynamoDB table, keyed by ``{pipeline}#{occurrence}`` and epoch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from contracts.segments import Disposition, Verdict
from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, to_item
from services.runtime.failures import ConflictError
from services.runtime.occurrences import Mark

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class DynamoOccurrences:
    """``Occurrences`` over one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    async def find(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> dict[str, list[Mark]]:
        """Every mark of these occurrences in epochs 0 to ``epoch``, by epoch; unmarked ones are absent."""
        keys = [
            _key(pipeline, occurrence, past) for occurrence in dict.fromkeys(occurrences) for past in range(epoch + 1)
        ]
        found: dict[str, list[Mark]] = {}
        for item in await tables.batch_get(self._client, self._table, keys):
            mark = _mark(pipeline, item)
            found.setdefault(mark.occurrence, []).append(mark)
        return {occurrence: sorted(marks, key=_epoch) for occurrence, marks in found.items()}

    async def mark_rows(
        self, pipeline: str, occurrences: Sequence[str], *, epoch: int, checkpoint: str, version: int
    ) -> None:
        """Record that a committed version holds these rows. Safe to repeat, from any process."""
        row = {"disposition": Disposition.MERGED, "checkpoint": checkpoint, "at_version": version}
        marks = [_key(pipeline, occurrence, epoch) | row for occurrence in dict.fromkeys(occurrences)]
        await tables.batch_put(self._client, self._table, marks)

    async def claim(
        self, pipeline: str, verdict: Verdict, *, segment_id: str, epoch: int, replay: bool = False
    ) -> bool:
        """Settle an occurrence without a row for this segment; True if the claim is (already) this segment's.

        Rows carry no segment, so a claim can never replace one. A claim whose answer was lost finds its own
        segment and is granted again.
        """
        free = "attribute_not_exists(#occurrence) OR #segment_id = :segment_id"
        values = {":segment_id": segment_id}
        if replay:
            free += " OR #disposition = :quarantined"
            values[":quarantined"] = Disposition.QUARANTINED
        item = _key(pipeline, verdict.occurrence, epoch) | {
            "disposition": verdict.disposition,
            "segment_id": segment_id,
        }
        try:
            with translated(f"PutItem {self._table} {verdict.occurrence}"):
                await self._client.put_item(
                    TableName=self._table,
                    Item=to_item(item),
                    ConditionExpression=free,
                    ExpressionAttributeNames=tables.aliases(free),
                    ExpressionAttributeValues=to_item(values),
                )
        except ConflictError:
            return False
        return True

    async def dispositions(self, pipeline: str, occurrences: Sequence[str], *, epoch: int) -> Mapping[str, Disposition]:
        """The latest epoch's disposition of each, for people; unmarked ones are absent."""
        found = await self.find(pipeline, occurrences, epoch=epoch)
        return {occurrence: marks[-1].disposition for occurrence, marks in found.items()}


def _key(pipeline: str, occurrence: str, epoch: int) -> Item:
    return {"occurrence": f"{pipeline}#{occurrence}", "epoch": epoch}


def _epoch(mark: Mark) -> int:
    return mark.epoch


def _mark(pipeline: str, item: Item) -> Mark:
    return Mark(
        occurrence=item["occurrence"].removeprefix(f"{pipeline}#"),
        disposition=Disposition(item["disposition"]),
        epoch=item["epoch"],
        checkpoint=item.get("checkpoint", ""),
        version=item.get("at_version", 0),
        segment_id=item.get("segment_id", ""),
    )
