-- First of the preparing transaction: job $1 goes over to run $2. No row comes back if it has already: then the snapshot
-- is there. Waits for updating transactions of the present run, and makes its later ones fail.
INSERT INTO tidegate_jobs AS job (job, run_id) VALUES ($1::text, $2::text)
ON CONFLICT (job) DO UPDATE SET run_id = excluded.run_id, prepared_at = now()
WHERE job.run_id <> excluded.run_id
RETURNING run_id
