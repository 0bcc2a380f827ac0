-- How the database does: seconds the slowest replica is behind, sessions that wait for a lock, and the greatest share of
-- dead rows among the tables $1.
SELECT
    (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)::double precision AS replication_lag_s,
    (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock') AS lock_waits,
    (
        SELECT max(n_dead_tup::double precision / greatest(n_dead_tup + n_live_tup, 1))
        FROM pg_stat_user_tables WHERE relid = ANY (
            SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name
        )
    ) AS dead_tuple_ratio
