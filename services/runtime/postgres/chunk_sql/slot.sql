-- One of $2 slots of job $1 for the time of this transaction; no row comes back if all are taken.
SELECT slot FROM generate_series(1, $2::integer) AS slot
WHERE pg_try_advisory_xact_lock(hashtext('tidegate/' || $1::text), slot)
LIMIT 1
