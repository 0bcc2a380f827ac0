"""What a load reads and what it may claim afterwards. Cursors are UTC, ``YYYY-MM-DDTHH:MM:SS.ffffff``, as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from contracts.fields import EntityField
from contracts.loads import START_OF_TIME, LoadPlan, PlannedSlice, Slice
from contracts.runs import LoadType, RunMode
from contracts.sources import EntitySource, RestSource
from services.runtime.failures import MalformedError
from services.runtime.watermarks import Watermark

END_OF_TIME = "9999-12-31T23:59:59.999999"
"""A sweep of keys has no upper end: what changed a moment ago must not look as if it had been deleted."""
PARALLEL = 4
"""Segments that a load should have if it has enough rows, so that fetchers work side by side."""
LEAST = 20_000
"""Rows that are worth a segment of their own."""


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """What a load covers, by cursor: from ``start`` to ``end``, exclusive."""

    load_type: LoadType
    start: str
    end: str
    frontier: str | None
    """What the watermark may say once every row of it is in bronze; None: it stays."""
    is_empty: bool = False
    """Whether there is nothing to read, as the source cannot be trusted any further than the last load came."""

    @property
    def whole(self) -> bool:
        """Whether it is of the whole entity, rows without a cursor included."""
        return self.load_type is not LoadType.INCREMENTAL

    @property
    def reads_until(self) -> str:
        """Where its slices end."""
        return END_OF_TIME if self.load_type is LoadType.KEYS else self.end


def cursor_of(moment: datetime) -> str:
    """A moment as a cursor."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def load_type_of(asked: LoadType, watermark: Watermark | None) -> LoadType:
    """What a load reads: everything, where no earlier one has left a watermark to go on from."""
    if asked is LoadType.INCREMENTAL and (watermark is None or watermark.cursor is None):
        return LoadType.FULL
    return asked


def window_of_load(
    source: EntitySource, load_type: LoadType, watermark: Watermark | None, ceiling: datetime
) -> LoadWindow:
    """What a load covers, now that the source can be trusted up to ``ceiling``.

    Raises:
        MalformedError: the watermark's cursor is not one.
    """
    end = cursor_of(ceiling)
    if load_type is LoadType.KEYS:
        return LoadWindow(load_type, START_OF_TIME, end, None)
    reached = _checked(START_OF_TIME if watermark is None or watermark.cursor is None else watermark.cursor)
    if load_type is LoadType.FULL:
        # Readers forget what was before a full load: it must not end below what is proven already, as a ceiling may
        # that is lower than an earlier one (a longer lag, a right that was taken away, a clock that was set back).
        start, end = START_OF_TIME, max(end, reached)
    else:
        start = _before(reached, source.overlap_seconds)
        if end <= reached:
            return LoadWindow(load_type, start, start, None, is_empty=True)
    # Tables are read below what can still change. Of an API nobody knows: its last moments are read again next time.
    frontier = max(reached, _before(end, source.lag_seconds)) if isinstance(source, RestSource) else end
    return LoadWindow(load_type, start, end, frontier)


def slices_of(window: LoadWindow, cuts: Sequence[tuple[Slice, int]]) -> list[PlannedSlice]:
    """The segments of a load, out of slices and their estimated rows.

    A load of the whole entity has one even where there are no rows: that there are none is what readers must learn.
    """
    if not cuts and window.whole and not window.is_empty:
        cuts = [(Slice(start=window.start, end=window.reads_until, undated=True), 0)]
    return [PlannedSlice(segment_id=segment_id_of_slice(each), slice=each, expected_rows=rows) for each, rows in cuts]


def segment_id_of_slice(each: Slice) -> str:
    """A name that depends on the slice only."""
    return sha256(each.model_dump_json().encode()).hexdigest()[:24]


def label_of_slice(each: Slice) -> str:
    """What is in a slice, for people."""
    keys = [("after", each.after), ("up to", each.upto)]
    told = " ".join(f"{word} {', '.join(key)}" for word, key in keys if key is not None)
    window = f"{each.start} until {each.end}"
    return f"{window}, keys {told}" if told else window


def parts_of(rows: int, *, segment_rows: int, segment_bytes: int, row_bytes: float) -> int:
    """How many slices a window of so many rows is cut into; ``row_bytes`` is what one takes on average."""
    most = max(1, min(segment_rows, int(segment_bytes / max(row_bytes, 1.0))))
    return max(-(-rows // most), PARALLEL if rows > PARALLEL * LEAST else 1)


def key_fields(fields: Sequence[EntityField], key: Sequence[str]) -> list[EntityField]:
    """The fields of a sweep of keys, in the key's order."""
    by_name = {field.name: field for field in fields}
    return [by_name[name] for name in key]


def mode_of_load(load_type: LoadType) -> RunMode:
    """Why a load exists."""
    return {
        LoadType.FULL: RunMode.FULL,
        LoadType.INCREMENTAL: RunMode.INCREMENTAL,
        LoadType.KEYS: RunMode.KEYS,
    }[load_type]


def child_run(run_id: str, entity: str) -> str:
    """The run of one entity in a group's run."""
    return f"{run_id}.{entity}"


def without_frontier(plan: LoadPlan) -> LoadPlan:
    """The same plan, claiming nothing."""
    return plan.model_copy(update={"frontier": None})


def _checked(cursor: str) -> str:
    """A watermark's cursor, as loads write them: others would not compare with them as text.

    Raises:
        MalformedError: it is written otherwise.
    """
    if cursor == START_OF_TIME:
        return cursor
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or moment.isoformat(timespec="microseconds") != cursor:
        raise MalformedError(
            f"the watermark's cursor {cursor!r} is no UTC timestamp like 2026-01-31T23:59:59.999999;"
            " `tidegate watermark reset` starts over"
        )
    return cursor


def _before(cursor: str, seconds: int) -> str:
    """So many seconds earlier; never before the start of time."""
    if not seconds or cursor == START_OF_TIME:
        return cursor
    moment = datetime.fromisoformat(cursor)
    earlier = moment - min(timedelta(seconds=seconds), moment - datetime.min.replace(tzinfo=moment.tzinfo))
    return max(START_OF_TIME, cursor_of(earlier.replace(tzinfo=UTC)))
