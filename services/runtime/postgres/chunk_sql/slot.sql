-- First of the updating transaction: one of $2 slots of job $1 for as long as it lasts; no row comes back if all are taken.
SELECT slot FROM generate_series(1, $2::integer) AS slot
WHERE pg_try_advisory_xact_lock(hashtext('tidegate/' || $1::text), slot)
LIMIT 1
