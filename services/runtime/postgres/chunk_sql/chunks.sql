-- Every chunk of run $1, and every part of those that were split.
SELECT chunk_id, state, attempts, planned_rows, updated_rows FROM tidegate_chunks WHERE run_id = $1::text
