-- Chunk $3 of run $2 of job $1 as it stands, and whose snapshot there is.
SELECT chunk.state, chunk.fencing_token, chunk.attempts, chunk.planned_rows, chunk.updated_rows,
    job.run_id AS snapshot_run
FROM tidegate_jobs AS job
LEFT JOIN tidegate_chunks AS chunk ON chunk.run_id = $2::text AND chunk.chunk_id = $3::text
WHERE job.job = $1::text
