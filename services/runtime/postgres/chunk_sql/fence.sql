-- Second of the updating transaction, after slot.sql: chunk $3 of run $2 of job $1 for the holder of fencing token $4; nothing else may
-- follow if no row comes back. Whoever claims the chunk, and the next run's snapshot, wait until this transaction is over.
SELECT chunk.planned_rows
FROM tidegate_chunks AS chunk JOIN tidegate_jobs AS job ON job.run_id = chunk.run_id
WHERE job.job = $1::text AND chunk.run_id = $2::text AND chunk.chunk_id = $3::text
    AND chunk.fencing_token = $4::bigint AND chunk.state = 'marked'
FOR UPDATE OF chunk FOR SHARE OF job
