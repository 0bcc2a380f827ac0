-- Rows of every key of the days $1 to $2, both included, as the visits are now.
SELECT "VisitDate", "SSN", count(*) AS rows
FROM conflictvisitmaps
WHERE "VisitDate" BETWEEN $1::date AND $2::date
GROUP BY "VisitDate", "SSN"
ORDER BY "VisitDate", "SSN" COLLATE "C"
