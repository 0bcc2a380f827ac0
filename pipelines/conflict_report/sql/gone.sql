-- Rows of the keys ($1 dates, $2 SSNs, of equal length) that were deleted since the snapshot.
SELECT count(*)
FROM unnest($1::date[], $2::text[]) AS key ("VisitDate", "SSN")
JOIN conflictvisitmaps_temp AS copy
    ON copy."VisitDate" = key."VisitDate" AND copy."SSN" IS NOT DISTINCT FROM key."SSN"
WHERE NOT EXISTS (SELECT FROM conflictvisitmaps AS visit WHERE visit."ID" = copy."ID")
