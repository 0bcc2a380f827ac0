-- Rows of the keys ($1 dates, $2 SSNs, of equal length) that were deleted since the snapshot.
WITH keys AS MATERIALIZED (
    -- Looked up one by one: a join by both columns is thought to find next to nothing, and is followed by bad plans.
    SELECT CASE
        WHEN "SSN" IS NULL THEN (
            SELECT visit."KeyPlace" FROM conflictvisitmaps_temp AS visit
            WHERE visit."VisitDate" = key."VisitDate" AND visit."SSN" IS NULL LIMIT 1
        )
        ELSE (
            SELECT visit."KeyPlace" FROM conflictvisitmaps_temp AS visit
            WHERE visit."VisitDate" = key."VisitDate" AND visit."SSN" = key."SSN" LIMIT 1
        ) END AS "KeyPlace"
    FROM unnest($1::date[], $2::text[]) AS key ("VisitDate", "SSN")
)
SELECT count(*)
FROM keys JOIN conflictvisitmaps_temp AS copy USING ("KeyPlace")
WHERE NOT EXISTS (SELECT FROM conflictvisitmaps AS visit WHERE visit."ID" = copy."ID")
