-- The attempt of the holder of fencing token $3 at chunk $2 of run $1 ended for reasons that are not the chunk's.
UPDATE tidegate_chunks SET attempts = attempts - 1
WHERE run_id = $1::text AND chunk_id = $2::text AND fencing_token = $3::bigint AND state = 'marked' AND attempts > 0
