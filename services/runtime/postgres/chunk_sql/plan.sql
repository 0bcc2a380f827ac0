-- Registers the chunks of run $1: ids $2 and planned rows $3, of equal length. What is there is left alone.
INSERT INTO tidegate_chunks (run_id, chunk_id, state, planned_rows)
SELECT $1::text, chunk_id, 'planned', planned_rows
FROM unnest($2::text[], $3::bigint[]) AS planned (chunk_id, planned_rows)
ON CONFLICT (run_id, chunk_id) DO NOTHING
