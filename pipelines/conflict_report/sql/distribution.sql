-- Rows of every key of the snapshot, in the order in which they lie; a date without SSN is a key of its own.
SELECT "VisitDate", "SSN", count(*) AS rows
FROM conflictvisitmaps_temp
GROUP BY "VisitDate", "SSN"
ORDER BY min("Place")
