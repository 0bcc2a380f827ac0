-- Whose snapshot of job $1 there is.
SELECT run_id FROM tidegate_jobs WHERE job = $1::text
