"""A ledger, parts and schemas of entities that were put into a stack by hand."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from contracts.fields import EntityField
from contracts.loads import GroupResult, LoadManifest, LoadPart, PartGroup, PlannedPart
from contracts.runs import LoadType, RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.console.session import Session
from services.runtime.ledger import Collection, Run, ScanCounts

ORDERS, ITEMS = "ecommerce.orders", "ecommerce.order_items"
GROUP_RUN = "ecommerce-1"
END = "2026-01-02T01:59:58.000000"
DENIED = "public.order_items in database shop may not be read"
FIRST = [EntityField(name="order_id", type="int32"), EntityField(name="total", type="decimal(12,2)")]
SECOND = [
    EntityField(name="order_id", type="int64", source_type="bigint"),
    EntityField(name="total", type="decimal(12,2)"),
    EntityField(name="channel", type="string"),
]


async def fill_bronze(session: Session) -> None:
    """Three complete loads of orders, one unfinished, and a group's run in which the items failed."""
    await _load(session, 1, LoadType.FULL, FIRST, {"2026-01-01": [(0, "1.00")]}, generation=1)
    dated: dict[str | None, list[tuple[Any, ...]]] = {"2026-01-01": [(1, "1.00"), (2, "2.50")], None: [(3, "0.01")]}
    await _load(session, 2, LoadType.FULL, FIRST, dated, generation=2)
    await _load(session, 3, LoadType.INCREMENTAL, SECOND, {"2026-01-01": [(2, "3.50", "app")]}, generation=2)
    await _load(session, 4, LoadType.INCREMENTAL, SECOND, {"2026-01-02": [(9, "9.99", "")]}, generation=2, done=False)
    await _records(session)


async def _load(
    session: Session,
    version: int,
    type_: LoadType,
    fields: Sequence[EntityField],
    days: Mapping[str | None, list[tuple[Any, ...]]],
    *,
    generation: int,
    done: bool = True,
) -> None:
    bucket, state = session.settings.resource("processed"), session.settings.resource("state")
    parts, planned = [], []
    for date, rows in days.items():
        folder = (
            f"ingestion_date=2026-01-0{version}/load_type={type_}/event_date={date or '__HIVE_DEFAULT_PARTITION__'}"
        )
        key = f"data/bronze/orders/{folder}/part-00000.parquet"
        frame = pl.DataFrame(rows, schema=[field.name for field in fields], orient="row").with_columns(
            pl.col("order_id").cast(pl.Int64 if fields is SECOND else pl.Int32), pl.col("total").cast(pl.Decimal(12, 2))
        )
        body = io.BytesIO()
        frame.with_columns(pl.lit(f"{version}").alias("_record_hash")).write_parquet(body)
        await session.objects.put(bucket, key, body.getvalue())
        planned.append(PlannedPart(key=key, date=date, share=0, shares=1))
        parts.append(LoadPart(key=key, date=date, rows=len(rows), size=len(body.getvalue())))
    manifest = LoadManifest(
        pipeline=ORDERS,
        version=version,
        generation=generation,
        run_id=f"r{version}",
        load_type=type_,
        run_date="2026-01-02",
        ingestion_ts="2026-01-02T02:00:00+00:00",
        ingestion_id="6f2f0f0e-0000-4000-8000-000000000000",
        bucket=bucket,
        fields=list(fields),
        segments=[],
        groups=[PartGroup(parts=[each]) for each in planned],
    )
    prefix = f"loads/{ORDERS}/{version:012d}"
    await session.objects.put(state, f"{prefix}/manifest.json", manifest.model_dump_json().encode())
    for number, part in enumerate(parts if done else []):
        result = GroupResult(parts=[part], segments={})
        await session.objects.put(state, f"{prefix}/groups/{number}.json", result.model_dump_json().encode())


async def _records(session: Session) -> None:
    """Schemas, watermarks, and a group's run with one entity that succeeded and one that failed."""
    name = f"{ORDERS}#orders"
    await session.entity_schemas.record(name, FIRST, version=1, run_id="r1")
    await session.entity_schemas.record(name, SECOND, version=2, run_id="r3")
    await session.watermarks.advance(name, END, expected_version=0, run_id=f"{GROUP_RUN}.orders")
    at = "2026-01-02T02:00:00+00:00"
    children = (f"{GROUP_RUN}.orders", f"{GROUP_RUN}.order_items")
    await session.ledger.open_run(
        Run(GROUP_RUN, "ecommerce", RunMode.INCREMENTAL, RunState.PLANNING, at, children=children)
    )
    for child, pipeline in zip(children, (ORDERS, ITEMS), strict=True):
        run = Run(child, pipeline, RunMode.INCREMENTAL, RunState.PLANNING, at, parent=GROUP_RUN)
        await session.ledger.open_run(run)
    orders, items = children
    await session.ledger.plan_segments(orders, [("s", 0)])
    covered = Collection(start="1970-01-01 00:00:00", end=END, entity="orders")
    await session.ledger.start_run(orders, planned=1, scan=ScanCounts(), frontier=END, collection=covered)
    await session.ledger.segment_fetched(orders, "s", 5, "b/k")
    await session.ledger.segment_validated(orders, "s", SegmentCounts(received=5, rows=5), "b/k")
    settled = Settlement(merged=4, row_duplicates=1)
    await session.ledger.segment_merged(orders, "s", settled, location="b/k", version=3)
    await session.ledger.finish_run(orders, RunState.SUCCEEDED)
    await session.ledger.finish_run(items, RunState.FAILED, reason=DENIED)
    reason = f"1 of 2 entities failed: {ITEMS}: {DENIED}"
    await session.ledger.finish_run(GROUP_RUN, RunState.FAILED, reason=reason)
    entry = {
        "reason": "invalid-row",
        "errors": [{"type": "decimal", "loc": ["amount"], "msg": "no decimal"}],
        "raw": "{}",
        "line": 7,
        "run_id": "pay-2",
        "segment_id": "s",
        "occurrence": {"bucket": "raw", "key": "k", "version_id": None, "etag": "e"},
    }
    for run_id, state in (("pay-1", RunState.SUCCEEDED), ("pay-2", RunState.FAILED)):
        day = f"2026-01-0{run_id[-1]}T02:00:00+00:00"
        await session.ledger.open_run(Run(run_id, "ecommerce.payments", RunMode.FULL, RunState.PLANNING, day))
        await session.ledger.finish_run(run_id, state, reason=None if state is RunState.SUCCEEDED else "a bad row")
        body = json.dumps(entry | {"run_id": run_id}).encode()
        quarantine = session.settings.resource("quarantine")
        await session.objects.put(quarantine, f"ecommerce.payments/{run_id}/s.ndjson", body)
