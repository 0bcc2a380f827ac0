"""How far a database can be trusted: no row with an older cursor can become visible any more.

A row gets its cursor when it is written (``now()`` is the start of its transaction), and becomes visible when that
transaction commits. A load that read up to the newest cursor would lose what older transactions commit afterwards, so
it stops below the start of the oldest transaction that is still open.

``pg_snapshot_xmin`` is not enough to tell that. It is the oldest transaction *id* still running, and an id is given out
with a transaction's first write: one that began an hour ago and writes its first row after our look has an id younger
than our snapshot, and a cursor an hour older. So every open transaction counts by its start, whether it has written
yet or sits idle, and whoever runs it; also those that are prepared and wait for the second phase. Of these only the
time of their preparation is known: they began before it, and the declared lag stands for how much.

Only transactions of this database count, and not those of the server's own maintenance. A transaction that only reads
cannot be told from one that will write, so long readers (a dump, another entity's load) hold the ceiling back, too:
that costs freshness for a while, never a row.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.runtime.postgres.connection import Connection

BLIND_S = 300
"""Seconds below the clock where open transactions cannot be seen: a role without the right to, a session that does not
report its own, or a replica. A transaction that is open for longer (than this, and than the declared lag) may lose rows
there."""
_MAINTENANCE = ("autovacuum launcher", "autovacuum worker", "archiver", "background writer", "checkpointer", "startup",
                "logger", "slotsync worker", "walreceiver", "walsender", "walsummarizer", "walwriter")  # fmt: skip
_LOOK = """
SELECT now() AS clock, current_user::text AS role, pg_is_in_recovery() AS is_replica,
       pg_last_xact_replay_timestamp() AS replayed, pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
       (SELECT min(a.xact_start) FROM pg_stat_activity a
        WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type <> ALL ($1::text[])
       ) AS oldest,
       EXISTS (SELECT FROM pg_stat_activity a
               WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.state = 'disabled') AS hides,
       (SELECT min(p.prepared) FROM pg_prepared_xacts p WHERE p.database = current_database()) AS prepared
"""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Where a load must stop, and why it stops earlier than the declared lag would have it."""

    moment: datetime
    warning: str | None = None


async def look(connection: Connection, lag_seconds: int) -> Ceiling:
    """The ceiling of the database as of now, by its own clock.

    The clock is that of our transaction's start, read before the others' are: a transaction that is missing among
    them began later, but for the moment in which a server has stamped one and not shown it yet. The lag covers that.
    """
    found = await connection.fetchrow(_LOOK, list(_MAINTENANCE))
    assert found is not None  # noqa: S101 - a SELECT without FROM has one row
    return ceiling_of(dict(found), lag_seconds)


def ceiling_of(found: dict[str, Any], lag_seconds: int) -> Ceiling:
    """What a look at the server means."""
    lag, blind = timedelta(seconds=lag_seconds), timedelta(seconds=max(lag_seconds, BLIND_S))
    far = f"reading {blind.total_seconds():.0f} s behind"
    clock: datetime = found["clock"].astimezone(UTC)
    if found["is_replica"]:
        replayed = found["replayed"]
        moment = clock if replayed is None else min(clock, replayed.astimezone(UTC))
        return Ceiling(moment - blind, f"a replica does not show what is open on its primary: {far} it")
    prepared = [] if found["prepared"] is None else [found["prepared"].astimezone(UTC) - lag]
    told: str | None = None
    if not found["sees_all"]:
        told = (
            f"role {found['role']} may not see when others' transactions began: {far} the clock;"
            f" GRANT pg_read_all_stats TO {found['role']} would allow it"
        )
    elif found["hides"]:
        told = f"a session with track_activities off does not show when its transaction began: {far} the clock"
    if told is not None:
        clock -= blind - lag
    oldest = [] if found["oldest"] is None else [found["oldest"].astimezone(UTC)]
    return Ceiling(min([clock, *oldest, *prepared]) - lag, told)
