-- The seven rules, once. Both statements of task 02 use these functions, which the planner expands where they are called.

CREATE OR REPLACE FUNCTION conflict_miles(v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Great-circle distance on a sphere of the Earth's mean radius, in miles to two places; NULL if a place is unknown.
    SELECT CASE WHEN v1."Located" AND v2."Located" THEN
        round(100 * 7917.5226 * asin(least(1, sqrt(
            power(sin(radians(v2."PLatitude" - v1."PLatitude") / 2), 2)
            + cos(radians(v1."PLatitude")) * cos(radians(v2."PLatitude"))
            * power(sin(radians(v2."PLongitude" - v1."PLongitude") / 2), 2)
        )))) / 100
    END
$$;

CREATE OR REPLACE FUNCTION conflict_speed(
    v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp, miles double precision[], speeds double precision[]
) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT speeds[width_bucket(conflict_miles(v1, v2), miles)]
$$;

CREATE OR REPLACE FUNCTION conflict_eta(
    v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp, miles double precision[], speeds double precision[]
) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Minutes of travel, to two places.
    SELECT round(6000 * conflict_miles(v1, v2) / conflict_speed(v1, v2, miles, speeds)) / 100
$$;

CREATE OR REPLACE FUNCTION conflict_gap(v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Minutes from the end of the first to the start of the second, to two places; negative where they overlap.
    SELECT round(extract(epoch FROM v2."Begins" - v1."Ends")::double precision * 100 / 60) / 100
$$;

CREATE OR REPLACE FUNCTION conflict_rule(
    v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp, miles double precision[], speeds double precision[]
) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- The rule by which the first is in conflict with the second, of the same SSN and date; NULL if by none.
    SELECT CASE
        WHEN (v1."ProviderID" <> v2."ProviderID" AND v1."VisitID" <> v2."VisitID") IS NOT TRUE THEN NULL
        WHEN v1."Begins" = v2."Begins" AND v1."Ends" = v2."Ends" THEN
            CASE WHEN v1."Started" AND v2."Started" THEN 2 WHEN v2."Started" THEN 3 WHEN NOT v1."Started" THEN 1 END
        WHEN v1."Begins" < v2."Ends" AND v2."Begins" < v1."Ends" THEN
            CASE WHEN v1."Started" AND v2."Started" THEN 5 WHEN v2."Started" THEN 6 WHEN NOT v1."Started" THEN 4 END
        WHEN v1."Started" AND v2."Started" AND v2."Begins" >= v1."Ends" AND v1."Located" AND v2."Located"
            AND (v1."PZipCode" = v2."PZipCode") IS NOT TRUE THEN
            CASE WHEN conflict_eta(v1, v2, miles, speeds) > conflict_gap(v1, v2) THEN 7 END
    END
$$;

CREATE OR REPLACE FUNCTION conflict_columns(
    v1 conflictvisitmaps_temp, v2 conflictvisitmaps_temp, rule integer, miles double precision[],
    speeds double precision[]
) RETURNS TABLE (
    "ConVisitID" text, "ConProviderID" text, "ConProviderName" text,
    "ConSchStartTime" timestamp, "ConSchEndTime" timestamp,
    "ConVisitStartTime" timestamp, "ConVisitEndTime" timestamp,
    "ConPLatitude" double precision, "ConPLongitude" double precision, "ConPZipCode" text,
    "SameSchTimeFlag" text, "SameVisitTimeFlag" text, "SchAndVisitTimeSameFlag" text,
    "SchOverAnotherSchTimeFlag" text, "VisitTimeOverAnotherVisitTimeFlag" text, "SchTimeOverVisitTimeFlag" text,
    "DistanceFlag" text,
    "DistanceMilesFromLatLng" double precision, "AverageMilesPerHour" double precision,
    "ETATravelMinutes" double precision, "MinuteDiffBetweenSch" double precision,
    "StatusFlag" text
) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- What the first row's computed columns become with the second as its partner; all NULL or N without one.
    SELECT v2."VisitID", v2."ProviderID", v2."ProviderName",
        v2."SchStartTime", v2."SchEndTime", v2."VisitStartTime", v2."VisitEndTime",
        v2."PLatitude", v2."PLongitude", v2."PZipCode",
        CASE rule WHEN 1 THEN 'Y' ELSE 'N' END, CASE rule WHEN 2 THEN 'Y' ELSE 'N' END,
        CASE rule WHEN 3 THEN 'Y' ELSE 'N' END, CASE rule WHEN 4 THEN 'Y' ELSE 'N' END,
        CASE rule WHEN 5 THEN 'Y' ELSE 'N' END, CASE rule WHEN 6 THEN 'Y' ELSE 'N' END,
        CASE rule WHEN 7 THEN 'Y' ELSE 'N' END,
        conflict_miles(v1, v2), conflict_speed(v1, v2, miles, speeds), conflict_eta(v1, v2, miles, speeds),
        conflict_gap(v1, v2),
        CASE WHEN rule IS NULL THEN 'N' ELSE 'U' END
$$;
