-- Rows of the snapshot by what its run has done to them: an earlier run's completion does not count.
SELECT
    CASE WHEN visit."UpdateFlag" = 1 THEN 'locked'
        WHEN visit."UpdatedDate" >= settings."SnapshotAt" THEN 'completed'
        ELSE 'pending' END AS status,
    count(*) AS rows
FROM settings, conflictvisitmaps_temp AS copy JOIN conflictvisitmaps AS visit USING ("ID")
GROUP BY 1
