-- Last of the updating transaction: chunk $2 of run $1, $3 rows updated.
UPDATE tidegate_chunks SET state = 'done', updated_rows = $3::bigint, done_at = now()
WHERE run_id = $1::text AND chunk_id = $2::text
