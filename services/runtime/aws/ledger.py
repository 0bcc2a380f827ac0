"""The run ledger in one DynamoDB table, keyed by run and item.

========  ==========================  ==============================================
run_id    item                        holds
========  ==========================  ==============================================
the run   ``run``                     the run, with its count of settled segments
the run   ``segment#{id}``            one segment
the run   ``chunk#{id}``              one chunk (``chunk_ledger``)
``runs``  ``{started_at}#{run_id}``   nothing: the order in which runs were started
========  ==========================  ==============================================

What must be known to have been *this* call's write carries a stamp, so that a lost answer is resolved by reading
back. A blocked run keeps its reason apart from a final one, so that a late merge clears only the former.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from contracts.runs import RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item, to_item
from services.runtime.aws.ledger_items import (
    RUNS,
    SEGMENTS,
    index_entry,
    key_of_run,
    key_of_segment,
    read_run,
    read_segment,
)
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, MissingObjectError
from services.runtime.ledger import Collection, Run, ScanCounts, SegmentEntry, Step

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

PLANS_IN_FLIGHT = 32
"""Conditional writes of one plan sent side by side."""
UNFINISHED = {"planning": RunState.PLANNING, "running": RunState.RUNNING}


class DynamoLedger:
    """``Ledger`` over one table.

    What must belong to a run raises MissingObjectError where the run was never opened.
    """

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def open_run(self, run: Run) -> bool:
        """Create the run; False if it exists already (it is then left alone)."""
        stamp = _stamp()
        item = asdict(run) | key_of_run(run.run_id) | {"opened_by": stamp}
        writes = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(item),
                    "ConditionExpression": "attribute_not_exists(#run_id)",
                    "ExpressionAttributeNames": {"#run_id": "run_id"},
                }
            },
            {"Put": {"TableName": self._table, "Item": to_item(index_entry(run))}},
        ]
        try:
            await tables.transact(self._client, writes, f"{self._table}: open run {run.run_id}")
        except ConflictError:
            return await self._is_stamped(key_of_run(run.run_id), "opened_by", stamp)
        return True

    async def plan_segments(self, run_id: str, segments: Sequence[tuple[str, int]]) -> None:
        """Enter planned segments as (id, occurrences); those already entered are left alone."""

        async def enter(segment: tuple[str, int]) -> None:
            segment_id, occurrences = segment
            try:
                await self._update(
                    key_of_segment(run_id, segment_id),
                    sets={"step": Step.PLANNED, "planned": occurrences, "updated_at": self._now()},
                    condition="attribute_not_exists(#step)",
                )
            except ConflictError:
                return  # entered before, and perhaps further by now

        await tables.each(segments, enter, limit=PLANS_IN_FLIGHT)

    async def start_run(
        self,
        run_id: str,
        *,
        planned: int,
        scan: ScanCounts,
        frontier: str | None,
        watermark_version: int = 0,
        collection: Collection | None = None,
    ) -> None:
        """PLANNING → RUNNING with what the plan found. A run that has started or ended already is left alone."""
        try:
            await self._update(
                key_of_run(run_id),
                sets={
                    "state": RunState.RUNNING,
                    "planned": planned,
                    "scan": asdict(scan),
                    "frontier": frontier,
                    "watermark_version": watermark_version,
                    "collection": None if collection is None else asdict(collection),
                },
                condition="#state = :planning",
                values={"planning": RunState.PLANNING},
            )
        except ConflictError:
            await self._require(run_id)

    async def segment_fetched(self, run_id: str, segment_id: str, rows: int, location: str) -> None:
        """PLANNED → FETCHED, with the rows of the raw object. A segment that is further keeps its step."""
        raw, key = {"fetched": rows, "raw_location": location}, key_of_segment(run_id, segment_id)
        try:
            await self._update(
                key,
                sets=raw | {"step": Step.FETCHED, "updated_at": self._now()},
                condition="attribute_not_exists(#step) OR #step = :planned",
                values={"planned": Step.PLANNED},
            )
        except ConflictError:
            try:
                await self._update(key, sets=raw, condition="attribute_not_exists(#fetched)")
            except ConflictError:
                return  # entered before, with the same rows: they come from the same object

    async def segment_validated(self, run_id: str, segment_id: str, counts: SegmentCounts, location: str) -> None:
        """PLANNED (or nothing) → VALIDATED.

        A merge may be recorded before its validation is: then only the counts, still missing, are added.
        """
        seen = {"counts": counts.model_dump(), "location": location}
        key = key_of_segment(run_id, segment_id)
        try:
            await self._update(
                key,
                sets=seen | {"step": Step.VALIDATED, "updated_at": self._now()},
                condition="attribute_not_exists(#step) OR #step IN (:planned, :fetched)",
                values={"planned": Step.PLANNED, "fetched": Step.FETCHED},
            )
        except ConflictError:
            try:
                await self._update(key, sets=seen, condition="attribute_not_exists(#counts)")
            except ConflictError:
                return  # validated before, with the same counts: they come from the same object

    async def segment_merged(
        self, run_id: str, segment_id: str, settlement: Settlement, *, location: str, version: int | None
    ) -> bool:
        """→ MERGED, and the run's ``settled`` + 1, in one transaction. False if it was taken before.

        Raises:
            MissingObjectError: the run was never opened; nothing was written.
        """
        stamp, key = _stamp(), key_of_segment(run_id, segment_id)
        segment = tables.update(
            self._table,
            key,
            sets={
                "step": Step.MERGED,
                "settlement": settlement.model_dump(),
                "location": location,
                "at_version": version,
                "updated_at": self._now(),
                "merged_by": stamp,
            },
            condition="attribute_not_exists(#step) OR #step <> :merged",
            values={"merged": Step.MERGED},
        )
        run = tables.update(
            self._table,
            key_of_run(run_id),
            adds={"settled": 1},
            removes=["blocked"],
            condition="attribute_exists(#run_id)",
        )
        what = f"{self._table}: merge segment {run_id}/{segment_id}"
        try:
            await tables.transact(self._client, [{"Update": segment}, {"Update": run}], what)
        except ConflictError:
            await self._require(run_id)
            return await self._is_stamped(key, "merged_by", stamp)
        return True

    async def finish_run(self, run_id: str, state: RunState, *, reason: str | None = None) -> bool:
        """PLANNING or RUNNING → a final state; True for the one call that did it."""
        stamp = _stamp()
        try:
            await self._update(
                key_of_run(run_id),
                sets={"state": state, "finished_at": self._now(), "reason": reason, "finished_by": stamp},
                removes=["blocked"],
                condition="#state IN (:planning, :running)",
                values=UNFINISHED,
            )
        except ConflictError:
            await self._require(run_id)
            return await self._is_stamped(key_of_run(run_id), "finished_by", stamp)
        return True

    async def pause_run(self, run_id: str, *, paused: bool) -> bool:
        """Hold an unfinished run, or let it go on; False if it has ended."""
        try:
            await self._update(
                key_of_run(run_id),
                sets={"paused": paused, "resumed_at": None if paused else self._now()},
                condition="#state IN (:planning, :running)",
                values=UNFINISHED,
            )
        except ConflictError:
            await self._require(run_id)
            return False
        return True

    async def reopen_run(self, run_id: str) -> bool:
        """FAILED or CANCELLED → RUNNING (PLANNING, if it has no plan), and not paused; False if it is neither."""
        stamp = _stamp()
        ways = {RunState.RUNNING: "attribute_exists(#planned)", RunState.PLANNING: "attribute_not_exists(#planned)"}
        for state, which in ways.items():
            try:
                await self._update(
                    key_of_run(run_id),
                    sets={"state": state, "paused": False, "reopened_by": stamp, "resumed_at": self._now()},
                    removes=["finished_at", "reason", "blocked"],
                    condition=f"#state IN (:failed, :cancelled) AND {which}",
                    values={"failed": RunState.FAILED, "cancelled": RunState.CANCELLED},
                )
            except ConflictError:
                continue
            return True
        await self._require(run_id)
        return await self._is_stamped(key_of_run(run_id), "reopened_by", stamp)

    async def block_run(self, run_id: str, reason: str) -> None:
        """Say on an unfinished run why nothing moves; the next segment that is merged clears it."""
        try:
            await self._update(
                key_of_run(run_id),
                sets={"blocked": reason},
                condition="#state IN (:planning, :running)",
                values=UNFINISHED,
            )
        except ConflictError:
            await self._require(run_id)

    async def run(self, run_id: str) -> Run | None:
        """One run (consistent read)."""
        item = await tables.get(self._client, self._table, key_of_run(run_id))
        return read_run(item) if item else None

    async def segment(self, run_id: str, segment_id: str) -> SegmentEntry | None:
        """One segment of a run (consistent read)."""
        item = await tables.get(self._client, self._table, key_of_segment(run_id, segment_id))
        return read_segment(item) if item else None

    async def segments(self, run_id: str) -> list[SegmentEntry]:
        """Every segment of a run (consistent read), by id."""
        condition = "#run_id = :run_id AND begins_with(#item, :prefix)"
        values = {"run_id": run_id, "prefix": SEGMENTS}
        return [read_segment(item) async for item in tables.query(self._client, self._table, condition, values)]

    async def runs(self, *, limit: int = 50) -> list[Run]:
        """The newest runs, newest first."""
        newest = tables.query(self._client, self._table, "#run_id = :runs", {"runs": RUNS}, forward=False, limit=limit)
        ids = [index["of_run"] async for index in newest]
        items = await tables.batch_get(self._client, self._table, [key_of_run(run_id) for run_id in ids])
        found = {item["run_id"]: read_run(item) for item in items}
        return [found[run_id] for run_id in ids]

    async def _update(self, key: Item, **clauses: Any) -> None:
        with translated(f"UpdateItem {self._table} {key['run_id']} {key['item']}"):
            await self._client.update_item(**tables.update(self._table, key, **clauses))

    async def _is_stamped(self, key: Item, attribute: str, stamp: str) -> bool:
        item = await tables.get(self._client, self._table, key)
        return item is not None and item.get(attribute) == stamp

    async def _require(self, run_id: str) -> None:
        if await tables.get(self._client, self._table, key_of_run(run_id)) is None:
            raise MissingObjectError(f"run {run_id} is not in {self._table}")

    def _now(self) -> str:
        return self._clock.now().isoformat()


def _stamp() -> str:
    return uuid4().hex
