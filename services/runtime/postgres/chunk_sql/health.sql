-- How the database does: seconds the slowest replica is behind, its sessions that wait for a lock, and the greatest share
-- of dead rows among the tables $1. Who waits is read from the locks, which everybody may see.
SELECT
    (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)::double precision AS replication_lag_s,
    (
        SELECT count(DISTINCT pid) FROM pg_locks AS waiting JOIN pg_stat_activity AS session USING (pid)
        WHERE NOT waiting.granted AND session.datname = current_database()
    ) AS lock_waits,
    (
        -- The table's own estimate stands in where statistics have just begun to count: then all rows seem dead.
        SELECT max(dead / greatest(dead + greatest(pg_stat_get_live_tuples(relation), reltuples), 1)::double precision)
        FROM unnest($1::text[]) AS name JOIN pg_class ON pg_class.oid = to_regclass(name),
            to_regclass(name) AS relation, pg_stat_get_dead_tuples(relation) AS dead
    ) AS dead_tuple_ratio
