-- Rows completed within the last $1 seconds.
SELECT count(*) AS completed_rows
FROM conflictvisitmaps
WHERE "UpdateFlag" IS NULL AND "UpdatedDate" > now() - make_interval(secs => $1::double precision)
