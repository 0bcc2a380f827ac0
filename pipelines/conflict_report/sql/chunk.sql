-- Why chunk $2 of run $1 was refused: its state and youngest token, and whose snapshot there is.
SELECT chunk.state, chunk.fencing_token, chunk.planned_rows, chunk.updated_rows, settings."RunID" AS snapshot_run
FROM settings LEFT JOIN conflict_chunks AS chunk ON chunk.run_id = $1::text AND chunk.chunk_id = $2::text
