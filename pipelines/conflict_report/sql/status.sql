-- Rows by what has happened to them, in this run or an earlier one.
SELECT
    CASE WHEN "UpdateFlag" = 1 THEN 'locked' WHEN "UpdatedDate" IS NOT NULL THEN 'completed' ELSE 'pending' END
        AS status,
    count(*) AS rows
FROM conflictvisitmaps
GROUP BY 1
