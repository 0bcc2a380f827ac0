-- Run $1 is over once each of its chunks is done; no row comes back before.
UPDATE settings SET "InProgressFlag" = 0
WHERE "RunID" = $1::text
    AND NOT EXISTS (SELECT FROM conflict_chunks WHERE run_id = $1::text AND state IN ('planned', 'marked'))
RETURNING "SnapshotAt"
