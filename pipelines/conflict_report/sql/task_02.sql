-- Recomputes every row of the snapshot in one statement.
WITH speeds AS MATERIALIZED (
    SELECT array_agg("MilesFrom" ORDER BY "MilesFrom") AS miles,
        array_agg("MilesPerHour" ORDER BY "MilesFrom") AS mph
    FROM average_speeds
)
UPDATE conflictvisitmaps AS visit
SET (
    "ConVisitID", "ConProviderID", "ConProviderName",
    "ConSchStartTime", "ConSchEndTime", "ConVisitStartTime", "ConVisitEndTime",
    "ConPLatitude", "ConPLongitude", "ConPZipCode",
    "SameSchTimeFlag", "SameVisitTimeFlag", "SchAndVisitTimeSameFlag",
    "SchOverAnotherSchTimeFlag", "VisitTimeOverAnotherVisitTimeFlag", "SchTimeOverVisitTimeFlag",
    "DistanceFlag",
    "DistanceMilesFromLatLng", "AverageMilesPerHour", "ETATravelMinutes", "MinuteDiffBetweenSch",
    "StatusFlag",
    "UpdateFlag", "UpdatedDate"
) = ROW(new.*, NULL, now())
FROM speeds CROSS JOIN conflictvisitmaps_temp AS v1
-- A partner is one number, rule before place: the least is the strongest rule's first. Of a small key all are judged.
CROSS JOIN LATERAL (
    SELECT min(conflict_rule(v1, v2, miles, mph)::bigint << 48 | v2."Place") AS partner
    FROM conflictvisitmaps_temp AS v2
    WHERE v2."SmallKey" = v1."SmallKey"
) AS small
-- Of a large key they are judged in the order that decides, until one fits: equal times, then overlaps, then distance.
LEFT JOIN LATERAL (
    SELECT rule::bigint << 48 | v2."Place" AS partner
    FROM conflictvisitmaps_temp AS v2, LATERAL (SELECT conflict_rule(v1, v2, miles, mph) AS rule) AS judged
    WHERE v2."LargeKey" = v1."LargeKey" AND v2."Begins" = v1."Begins" AND v2."Ends" = v1."Ends"
        AND v2."Started" >= v1."Started" AND rule <= 3
    ORDER BY v2."Started", v2."Place" LIMIT 1
) AS equal ON true
LEFT JOIN LATERAL (
    SELECT rule::bigint << 48 | v2."Place" AS partner
    FROM conflictvisitmaps_temp AS v2, LATERAL (SELECT conflict_rule(v1, v2, miles, mph) AS rule) AS judged
    WHERE equal.partner IS NULL AND v1."LargeKey" IS NOT NULL
        AND v2."LargeKey" IS NOT NULL AND v2."KeyPlace" = v1."KeyPlace" AND v2."Started" >= v1."Started"
        AND rule BETWEEN 4 AND 6
    ORDER BY v2."Started", v2."Place" LIMIT 1
) AS overlapping ON true
LEFT JOIN LATERAL (
    SELECT rule::bigint << 48 | v2."Place" AS partner
    FROM conflictvisitmaps_temp AS v2, LATERAL (SELECT conflict_rule(v1, v2, miles, mph) AS rule) AS judged
    WHERE equal.partner IS NULL AND overlapping.partner IS NULL AND v1."LargeKey" IS NOT NULL AND v1."Started"
        AND v2."LargeKey" IS NOT NULL AND v2."KeyPlace" = v1."KeyPlace" AND v2."Started" AND rule = 7
    ORDER BY v2."Place" LIMIT 1
) AS distant ON true
CROSS JOIN LATERAL (
    SELECT coalesce(small.partner, equal.partner, overlapping.partner, distant.partner) AS partner
) AS best
LEFT JOIN conflictvisitmaps_temp AS v2 ON v2."Place" = best.partner & (1::bigint << 48) - 1
CROSS JOIN LATERAL conflict_columns(v1, v2, (best.partner >> 48)::integer, miles, mph) AS new
WHERE visit."ID" = v1."ID"
