"""How often a chunk is tried, and what comes next.

Attempts are counted by the database when a chunk is claimed, so that a worker that died in mid-chunk counts, too. A
chunk is tried three times, then split, and each of its parts is tried once; where it cannot be split, it is tried once
more as it is.
"""

from enum import StrEnum

ATTEMPTS = 3
"""Attempts at a chunk before it is split."""
PART_CLAIMS = 2
"""Claims of a part: one attempt, and another where a worker died in the midst of it."""


class Step(StrEnum):
    """What to do with a chunk, or a part of one, that was just claimed."""

    TRY = "try"
    SPLIT = "split"
    GIVE_UP = "give up"


def step_of(attempts: int, *, is_part: bool, can_split: bool) -> Step:
    """The next step; ``attempts`` includes the claim that was just made."""
    if is_part:
        return Step.TRY if attempts <= PART_CLAIMS else Step.GIVE_UP
    if attempts <= ATTEMPTS:
        return Step.TRY
    if can_split:
        return Step.SPLIT
    return Step.TRY if attempts == ATTEMPTS + 1 else Step.GIVE_UP


def comes_again(attempts: int) -> bool:
    """Whether a chunk whose attempt failed is worth another message."""
    return attempts <= ATTEMPTS


def retry_delay_s(attempts: int) -> float:
    """Seconds until a failed chunk is tried again: 2, 4, 8."""
    return float(2 ** min(max(attempts, 1), ATTEMPTS))
