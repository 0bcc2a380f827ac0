"""How long a chunk will take, by the chunks before it, and whether people should see it being worked on."""

WEIGHT = 0.5
"""Share of the newest chunk in what is expected of the next."""


def pace_after(pace: float | None, rows: int, seconds: float) -> float | None:
    """Rows per second after one more chunk; a chunk without rows says nothing."""
    if rows == 0 or seconds <= 0:
        return pace
    latest = rows / seconds
    return latest if pace is None else WEIGHT * latest + (1 - WEIGHT) * pace


def is_marked(rows: int, pace: float | None, mark_after_s: float) -> bool:
    """Whether a chunk's rows are marked: where nothing is known yet, or it will probably take longer than that."""
    if pace is None or mark_after_s == 0:
        return True
    return rows / pace > mark_after_s
