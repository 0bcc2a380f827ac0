-- The chunks $2 of run $1, and the parts of those that were split, get all their attempts again.
UPDATE tidegate_chunks SET attempts = 0
WHERE run_id = $1::text AND split_part(chunk_id, '.', 1) = ANY ($2::text[]) AND state IN ('planned', 'marked')
