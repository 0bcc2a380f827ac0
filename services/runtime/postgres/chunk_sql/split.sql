-- Chunk $2 of run $1 is given up by the holder of fencing token $3, in one transaction with plan.sql for its parts. No
-- row comes back if it may not: then the parts must not be planned.
UPDATE tidegate_chunks SET state = 'split'
WHERE run_id = $1::text AND chunk_id = $2::text AND fencing_token = $3::bigint AND state = 'marked'
RETURNING planned_rows
