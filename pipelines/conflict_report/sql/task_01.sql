-- Copies the visits of the days $1 to $2, both included, in the order of their keys. A key of up to 256 rows is small:
-- all of its pairs are looked at.
INSERT INTO conflictvisitmaps_temp
SELECT
    "Place", "ID", "SSN", "VisitID", "VisitDate", "ProviderID", "ProviderName",
    "SchStartTime", "SchEndTime", "VisitStartTime", "VisitEndTime", "PZipCode", "PLatitude", "PLongitude",
    "Started", "Begins", "Ends",
    coalesce(abs("PLatitude") <= 90 AND abs("PLongitude") <= 180, false),
    "KeyPlace",
    CASE WHEN "Pairs" AND "KeyRows" <= 256 THEN "KeyPlace" END,
    CASE WHEN "Pairs" AND "KeyRows" > 256 THEN "KeyPlace" END
FROM (
    SELECT *,
        min("Place") OVER whole AS "KeyPlace",
        count(*) OVER whole AS "KeyRows",
        "SSN" IS NOT NULL AND "Begins" IS NOT NULL AND "Ends" IS NOT NULL
            AND min("ProviderID") OVER whole <> max("ProviderID") OVER whole AS "Pairs"
    FROM (
        SELECT *,
            CASE WHEN "Started" THEN "VisitStartTime" WHEN isfinite("SchStartTime") THEN "SchStartTime" END AS "Begins",
            CASE WHEN "Started" THEN "VisitEndTime" WHEN isfinite("SchEndTime") THEN "SchEndTime" END AS "Ends",
            row_number() OVER (ORDER BY "VisitDate", "SSN" COLLATE "C", "VisitID" COLLATE "C", "ID") AS "Place"
        FROM (
            SELECT *, coalesce(isfinite("VisitStartTime") AND isfinite("VisitEndTime"), false) AS "Started"
            FROM conflictvisitmaps
            WHERE "VisitDate" BETWEEN $1::date AND $2::date
        ) AS visits
    ) AS placed
    WINDOW whole AS (PARTITION BY "VisitDate", "SSN" COLLATE "C")
) AS keyed
ORDER BY "Place"
