-- First of the updating transaction: chunk $2 of run $1 for the holder of fencing token $3; nothing else may follow if
-- no row comes back. Whoever claims the chunk, and task 01 of the next run, wait until this transaction is over.
SELECT chunk.planned_rows
FROM conflict_chunks AS chunk JOIN settings ON settings."RunID" = chunk.run_id
WHERE chunk.run_id = $1::text AND chunk.chunk_id = $2::text AND chunk.fencing_token = $3::bigint
    AND chunk.state = 'marked'
FOR UPDATE OF chunk FOR SHARE OF settings
