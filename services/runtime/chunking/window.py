"""Which days a run covers."""

from datetime import date, timedelta

from contracts.chunk_jobs import ChunkSizes, DayWindow
from contracts.chunks import ChunkPayload
from services.runtime.chunking.ports import Window
from services.runtime.failures import BadDeclarationError


def window_of(declared: DayWindow, payload: ChunkPayload, today: date) -> Window:
    """The days of a run that is asked for today (UTC), unless its payload says otherwise.

    Raises:
        BadDeclarationError: the payload's day and the declared other end are the wrong way round.
    """
    first = payload.first_day or _years_before(today, declared.lookback_years)
    last = payload.last_day or today + timedelta(days=declared.lookahead_days)
    if first > last:
        raise BadDeclarationError(f"the run's first day {first} is after its last day {last}")
    return Window(first, last)


def sizes_of(declared: ChunkSizes, payload: ChunkPayload) -> ChunkSizes:
    """How a run's chunks are cut: as declared, unless its payload says otherwise; a declared limit gives way to it.

    Raises:
        BadDeclarationError: the payload's own numbers contradict each other.
    """
    given = payload.model_dump(include={"target_rows", "max_rows", "max_keys"}, exclude_none=True)
    sizes = declared.model_copy(update=given)
    if sizes.max_rows >= sizes.target_rows:
        return sizes
    if payload.max_rows is None:
        return sizes.model_copy(update={"max_rows": sizes.target_rows})
    if payload.target_rows is None:
        return sizes.model_copy(update={"target_rows": sizes.max_rows})
    raise BadDeclarationError(f"max_rows {sizes.max_rows} is less than target_rows {sizes.target_rows}")


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)
