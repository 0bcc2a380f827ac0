"""When a database is left alone for a while."""

from typing import Protocol

from contracts.chunk_jobs import HealthLimits

FIRST_S, LONGEST_S = 5.0, 300.0
"""Seconds that a chunk is held back at first, and at most; a waiting state machine gives up after ten minutes."""


class Measured(Protocol):
    """How a database does; None where that cannot be said."""

    @property
    def replication_lag_s(self) -> float | None:
        """Seconds the slowest replica is behind."""
        ...

    @property
    def lock_waits(self) -> int:
        """Sessions that wait for a lock."""
        ...

    @property
    def dead_tuple_ratio(self) -> float | None:
        """Greatest share of dead rows among the tables that count."""
        ...


def is_limited(limits: HealthLimits) -> bool:
    """Whether anything is worth measuring."""
    return (limits.replication_lag_s, limits.lock_waits, limits.dead_tuple_ratio) != (None, None, None)


def over_limit(limits: HealthLimits, health: Measured) -> str | None:
    """What is over its limit, in words; None while all is well."""
    lag, waits, dead = health.replication_lag_s, health.lock_waits, health.dead_tuple_ratio
    reasons = []
    if limits.replication_lag_s is not None and lag is not None and lag > limits.replication_lag_s:
        reasons.append(f"a replica is {lag:.1f} s behind, and the limit is {limits.replication_lag_s:g} s")
    if limits.lock_waits is not None and waits > limits.lock_waits:
        reasons.append(f"{waits} sessions wait for a lock, and the limit is {limits.lock_waits}")
    if limits.dead_tuple_ratio is not None and dead is not None and dead > limits.dead_tuple_ratio:
        reasons.append(f"{dead:.0%} of a table's rows are dead, and the limit is {limits.dead_tuple_ratio:.0%}")
    return "; ".join(reasons) or None


def hold_back_s(receives: int) -> float:
    """Seconds that a chunk is held back which was received so many times: longer each time."""
    return min(FIRST_S * 2.0 ** min(max(receives, 1) - 1, 16), LONGEST_S)
