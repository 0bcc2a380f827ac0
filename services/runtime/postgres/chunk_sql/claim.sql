-- First of the marking transaction: chunk $3 of run $2 of job $1 for the holder of fencing token $4, with $5 planned rows.
-- No row comes back if the chunk is done or split, a younger token has claimed it, or the snapshot is another run's.
INSERT INTO tidegate_chunks AS chunk (run_id, chunk_id, fencing_token, planned_rows, state, attempts, marked_at)
SELECT job.run_id, $3::text, $4::bigint, $5::bigint, 'marked', 1, now()
FROM tidegate_jobs AS job WHERE job.job = $1::text AND job.run_id = $2::text
FOR SHARE
ON CONFLICT (run_id, chunk_id) DO UPDATE
SET fencing_token = excluded.fencing_token, state = 'marked', attempts = chunk.attempts + 1,
    marked_at = excluded.marked_at
WHERE chunk.state IN ('planned', 'marked') AND chunk.fencing_token <= excluded.fencing_token
RETURNING chunk.planned_rows, chunk.attempts
