"""Keys and items of the ledger's table."""

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.aws.items import Item
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.failures import BadDeclarationError
from services.runtime.ledger import Collection, Run, ScanCounts, SegmentEntry, Step

RUN = "run"
SEGMENTS = "segment#"
CHUNKS = "chunk#"
RUNS = "runs"
"""Partition of the index; no run may be called that."""


def key_of_run(run_id: str) -> Item:
    """Key of a run."""
    return {"run_id": run_id, "item": RUN}


def key_of_segment(run_id: str, segment_id: str) -> Item:
    """Key of one segment of a run."""
    return {"run_id": run_id, "item": f"{SEGMENTS}{segment_id}"}


def key_of_chunk(run_id: str, chunk_id: str) -> Item:
    """Key of one chunk of a run."""
    return {"run_id": run_id, "item": f"{CHUNKS}{chunk_id}"}


def index_entry(run: Run) -> Item:
    """The item that makes a run known among all runs, by when it started.

    Raises:
        BadDeclarationError: the run is called like the index.
    """
    if run.run_id == RUNS:
        raise BadDeclarationError(f"no run may be called {RUNS!r}")
    return {"run_id": RUNS, "item": f"{run.started_at}#{run.run_id}", "of_run": run.run_id}


def read_run(item: Item) -> Run:
    """A run from its item."""
    collection = item.get("collection")
    return Run(
        run_id=item["run_id"],
        pipeline=item["pipeline"],
        mode=RunMode(item["mode"]),
        state=RunState(item["state"]),
        started_at=item["started_at"],
        planned=item.get("planned"),
        settled=item.get("settled", 0),
        finished_at=item.get("finished_at"),
        reason=item.get("reason") or item.get("blocked"),
        scan=ScanCounts(**item.get("scan", {})),
        destination=item.get("destination"),
        frontier=item.get("frontier"),
        watermark_version=item.get("watermark_version", 0),
        collection=None if collection is None else Collection(**collection),
        parent=item.get("parent"),
        children=tuple(item.get("children", ())),
        log=item.get("log"),
        failed=item.get("failed", 0),
        paused=item.get("paused", False),
        resumed_at=item.get("resumed_at"),
    )


def read_segment(item: Item) -> SegmentEntry:
    """A segment from its item."""
    settlement = item.get("settlement")
    return SegmentEntry(
        run_id=item["run_id"],
        segment_id=item["item"].removeprefix(SEGMENTS),
        step=Step(item["step"]),
        planned=item.get("planned", 0),
        counts=SegmentCounts(**item.get("counts", {})),
        settlement=None if settlement is None else Settlement(**settlement),
        location=item.get("location"),
        version=item.get("at_version"),
        updated_at=item.get("updated_at", ""),
        fetched=item.get("fetched"),
        raw_location=item.get("raw_location"),
    )


def read_chunk(item: Item) -> ChunkEntry:
    """A chunk from its item."""
    return ChunkEntry(
        run_id=item["run_id"],
        chunk_id=item["item"].removeprefix(CHUNKS),
        state=ChunkState(item["state"]),
        rows=item["rows"],
        keys=item.get("keys", 0),
        updated=item.get("updated"),
        gone=item.get("gone", 0),
        marked=item.get("marked", 0),
        seconds=float(item.get("seconds", 0)),
        parts=item.get("parts", 0),
        worker=item.get("worker"),
        started_at=item.get("started_at"),
        updated_at=item.get("updated_at", ""),
        reason=item.get("reason"),
    )
