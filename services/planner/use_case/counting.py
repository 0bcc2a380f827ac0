"""Counting a window of a source, as finely as its plan needs and no finer."""

from dataclasses import dataclass

from contracts.fetching import KeyRange
from contracts.plans import PlannedRange
from contracts.sources import SocrataSource
from services.planner.core.limit import Bin, in_doubt, within
from services.planner.core.slices import crowded, every, sizes_for, sliced, too_large
from services.planner.core.window import Window
from services.runtime.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Counted:
    """The ranges of a plan, and where they end; no end: there is nothing to read."""

    ranges: list[PlannedRange]
    end: str | None = None
    is_cut: bool = False
    """Whether the limit left something for the next run."""


async def count(
    dataset: Dataset, source: SocrataSource, window: Window, newest: str | None, max_records: int
) -> Counted:
    """Slice what there is from the window's start to the newest row, as far as the limit allows.

    Raises:
        PermanentError: the source refused a query; the text is its own.
        TemporaryError: it does not answer now.
    """
    if newest is None or newest < window.start:
        return Counted([])
    whole = _Bins(dataset, window.start, newest)
    await whole.count()
    while (doubtful := in_doubt(whole.bins, window.known, max_records)) is not None:
        await whole.refine(doubtful)
    taken = within(whole.bins, window.known, max_records)
    is_cut = len(taken) < len(whole.bins)
    end = taken[-1].value if is_cut else newest
    part = _Bins(dataset, window.start, end, taken)
    rows = sum(each.rows for each in taken)
    sizes = sizes_for(rows, segment_rows=source.segment_rows, batch_rows=source.batch_size)
    while (large := too_large(part.bins, sizes)) is not None:
        await part.refine(large)
    crowds = crowded(part.bins, sizes)
    keys = {crowd.value: await dataset.keys_at(crowd.value, every(crowd.rows, sizes)) for crowd in crowds}
    ranges = sliced(window.start, end, part.bins, sizes, keys)
    return Counted(ranges, end, is_cut) if ranges else Counted([])


class _Bins:
    """Counts of a window, by day at first."""

    def __init__(self, dataset: Dataset, start: str, end: str, bins: list[Bin] | None = None) -> None:
        self.bins = bins or []
        self._dataset = dataset
        self._start = start
        self._end = end

    async def count(self) -> None:
        """Count by day."""
        days = await self._dataset.rows_by_day(KeyRange(start=self._start, to=self._end))
        self.bins = [Bin(day.value, day.rows) for day in days if day.rows]

    async def refine(self, index: int) -> None:
        """Count a day by cursor; rows may have come and gone since it was counted whole."""
        start = max(self._start, self.bins[index].value)
        if index + 1 < len(self.bins):
            part = KeyRange(start=start, before=self.bins[index + 1].value)
        else:
            part = KeyRange(start=start, to=self._end)
        found = await self._dataset.rows_by_cursor(part)
        self.bins[index : index + 1] = [Bin(each.value, each.rows, exact=True) for each in found if each.rows]
