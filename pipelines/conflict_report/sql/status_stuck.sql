-- Chunks of the current run that have been worked on for longer than $1 seconds, oldest first.
SELECT chunk.chunk_id, chunk.fencing_token, chunk.planned_rows, chunk.marked_at
FROM tidegate_chunks AS chunk JOIN settings ON settings."RunID" = chunk.run_id
WHERE chunk.state = 'marked' AND chunk.marked_at <= now() - make_interval(secs => $1::double precision)
ORDER BY chunk.marked_at, chunk.chunk_id
