"""The chunks of runs in the run ledger's table: items ``chunk#{id}`` beside their run.

A chunk's state and the counts of its run change in one transaction, whose condition names the state that the counts
are reckoned from. What must be known to have been *this* call's write carries a stamp, so that a lost answer is
resolved by reading back.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from contracts.chunks import ChunkOutcome, PlannedChunk
from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import Item
from services.runtime.aws.ledger_items import CHUNKS, key_of_chunk, key_of_run, read_chunk
from services.runtime.chunking.balance import order_of
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, MissingObjectError, TemporaryError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

PLANS_IN_FLIGHT = 32
"""Conditional writes of one plan sent side by side."""
ATTEMPTS = 8
"""Tries to move a chunk whose state changes under our hands."""


class DynamoChunkLedger:
    """``ChunkLedger`` over the run ledger's table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def plan_chunks(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See the port."""

        async def enter(chunk: PlannedChunk) -> None:
            sets = {"state": ChunkState.PLANNED, "rows": chunk.rows, "keys": chunk.keys, "updated_at": self._now()}
            try:
                await self._update(
                    key_of_chunk(run_id, chunk.chunk_id), sets=sets, condition="attribute_not_exists(#state)"
                )
            except ConflictError:
                return  # entered before, and perhaps further by now

        await tables.each(chunks, enter, limit=PLANS_IN_FLIGHT)

    async def chunk_started(self, run_id: str, chunk_id: str, worker: str) -> None:
        """See the port."""
        key, now = key_of_chunk(run_id, chunk_id), self._now()
        try:
            await self._update(
                key,
                sets={"worker": worker, "started_at": now, "updated_at": now},
                condition="attribute_exists(#state) AND #state <> :done",
                values={"done": ChunkState.DONE},
            )
        except ConflictError:
            await self._item(run_id, chunk_id)  # done before, or not there

    async def chunk_done(self, run_id: str, chunk_id: str, outcome: ChunkOutcome, *, gone: int = 0) -> bool:
        """See the port."""
        sets = {
            "state": ChunkState.DONE,
            "updated": outcome.rows,
            "gone": gone,
            "marked": outcome.rows_marked,
            "seconds": Decimal(repr(outcome.seconds)),
            "parts": outcome.parts,
        }
        counts = {
            ChunkState.PLANNED: {"settled": 1},
            ChunkState.FAILED: {"settled": 1, "failed": -1},
        }
        return await self._move(run_id, chunk_id, counts, sets=sets, removes=["reason"])

    async def chunk_failed(self, run_id: str, chunk_id: str, reason: str) -> bool:
        """See the port."""
        sets = {"state": ChunkState.FAILED, "reason": reason}
        return await self._move(run_id, chunk_id, {ChunkState.PLANNED: {"failed": 1}}, sets=sets)

    async def reopen_chunk(self, run_id: str, chunk_id: str) -> bool:
        """See the port."""
        counts = {ChunkState.FAILED: {"failed": -1}}
        return await self._move(run_id, chunk_id, counts, sets={"state": ChunkState.PLANNED}, removes=["reason"])

    async def chunk(self, run_id: str, chunk_id: str) -> ChunkEntry | None:
        """See the port."""
        item = await tables.get(self._client, self._table, key_of_chunk(run_id, chunk_id))
        return read_chunk(item) if item else None

    async def chunks(self, run_id: str) -> list[ChunkEntry]:
        """See the port."""
        condition = "#run_id = :run_id AND begins_with(#item, :prefix)"
        values = {"run_id": run_id, "prefix": CHUNKS}
        found = [read_chunk(item) async for item in tables.query(self._client, self._table, condition, values)]
        return sorted(found, key=lambda entry: order_of(entry.chunk_id))

    async def _move(
        self,
        run_id: str,
        chunk_id: str,
        counts: Mapping[ChunkState, Mapping[str, int]],
        *,
        sets: Mapping[str, Any],
        removes: Sequence[str] = (),
    ) -> bool:
        """To another state, from one of those in ``counts``, which says for each what it adds to the run's counts."""
        stamp, stamped_as = uuid4().hex, f"{sets['state']}_by"
        what = f"{self._table}: chunk {run_id}/{chunk_id} {sets['state']}"
        origin = next(iter(counts))
        for _ in range(ATTEMPTS):
            chunk = tables.update(
                self._table,
                key_of_chunk(run_id, chunk_id),
                sets={**sets, "updated_at": self._now(), stamped_as: stamp},
                removes=removes,
                condition="#state = :origin",
                values={"origin": origin},
            )
            run = tables.update(
                self._table,
                key_of_run(run_id),
                adds=counts[origin],
                removes=["blocked"],
                condition="attribute_exists(#run_id)",
            )
            try:
                await tables.transact(self._client, [{"Update": chunk}, {"Update": run}], what)
            except ConflictError:
                item = await self._item(run_id, chunk_id)
                if item.get(stamped_as) == stamp:
                    return True
                if (origin := ChunkState(item["state"])) not in counts:
                    return False
            else:
                return True
        raise TemporaryError(f"{what}: its state changed {ATTEMPTS} times meanwhile")

    async def _item(self, run_id: str, chunk_id: str) -> Item:
        """A chunk that must be there, of a run that must be there."""
        if await tables.get(self._client, self._table, key_of_run(run_id)) is None:
            raise MissingObjectError(f"run {run_id} is not in {self._table}")
        item = await tables.get(self._client, self._table, key_of_chunk(run_id, chunk_id))
        if item is None:
            raise MissingObjectError(f"chunk {chunk_id} of run {run_id} is not in {self._table}")
        return item

    async def _update(self, key: Item, **clauses: Any) -> None:
        with translated(f"UpdateItem {self._table} {key['run_id']} {key['item']}"):
            await self._client.update_item(**tables.update(self._table, key, **clauses))

    def _now(self) -> str:
        return self._clock.now().isoformat()
