-- First of the marking transaction: chunk $2 of run $1 for the holder of fencing token $3, with $4 planned rows.
-- No row comes back if the chunk is done or split, a younger token has claimed it, or the snapshot is another run's.
INSERT INTO conflict_chunks AS chunk (run_id, chunk_id, fencing_token, planned_rows, state, marked_at)
SELECT settings."RunID", $2::text, $3::bigint, $4::bigint, 'marked', now()
FROM settings WHERE settings."RunID" = $1::text
FOR SHARE
ON CONFLICT (run_id, chunk_id) DO UPDATE
SET fencing_token = excluded.fencing_token, state = 'marked', marked_at = excluded.marked_at
WHERE chunk.state IN ('planned', 'marked') AND chunk.fencing_token <= excluded.fencing_token
RETURNING chunk.planned_rows
