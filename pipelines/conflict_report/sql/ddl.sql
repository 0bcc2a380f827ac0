-- Tables of the conflict report. Every statement may run again: what exists is left alone.

CREATE TABLE IF NOT EXISTS conflictvisitmaps (
    "ID" bigint PRIMARY KEY,
    "CONFLICTID" bigint,
    "SSN" text,
    "VisitID" text,
    "VisitDate" date NOT NULL,
    "ProviderID" text,
    "ProviderName" text,
    "SchStartTime" timestamp,
    "SchEndTime" timestamp,
    "VisitStartTime" timestamp,
    "VisitEndTime" timestamp,
    "PZipCode" text,
    "PLatitude" double precision,
    "PLongitude" double precision,
    "PayerID" text,
    "BilledHours" numeric(6, 2),
    "ConVisitID" text,
    "ConProviderID" text,
    "ConProviderName" text,
    "ConSchStartTime" timestamp,
    "ConSchEndTime" timestamp,
    "ConVisitStartTime" timestamp,
    "ConVisitEndTime" timestamp,
    "ConPLatitude" double precision,
    "ConPLongitude" double precision,
    "ConPZipCode" text,
    "SameSchTimeFlag" text,
    "SameVisitTimeFlag" text,
    "SchAndVisitTimeSameFlag" text,
    "SchOverAnotherSchTimeFlag" text,
    "VisitTimeOverAnotherVisitTimeFlag" text,
    "SchTimeOverVisitTimeFlag" text,
    "DistanceFlag" text,
    "DistanceMilesFromLatLng" double precision,
    "AverageMilesPerHour" double precision,
    "ETATravelMinutes" double precision,
    "MinuteDiffBetweenSch" double precision,
    "StatusFlag" text,
    "UpdateFlag" smallint,
    "UpdatedDate" timestamptz
) WITH (fillfactor = 45);
-- Marking and updating leave two more versions of a row. On a page with room for them no index is written, and the
-- first version's place is used again by the third. For the same reason no index may name a computed column,
-- "UpdateFlag" or "UpdatedDate".

CREATE TABLE IF NOT EXISTS conflicts (
    "CONFLICTID" bigint PRIMARY KEY,
    "StatusFlag" text,
    "FlagForReview" text
);

CREATE TABLE IF NOT EXISTS settings (
    "ID" smallint PRIMARY KEY DEFAULT 1 CHECK ("ID" = 1),
    "InProgressFlag" smallint NOT NULL DEFAULT 0,
    "RunID" text,
    "SnapshotAt" timestamptz
);
-- "RunID" says for people whose snapshot conflictvisitmaps_temp holds; tidegate_jobs says it for the workers.

INSERT INTO settings DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS average_speeds (
    "MilesFrom" double precision PRIMARY KEY,
    "MilesPerHour" double precision NOT NULL CHECK ("MilesPerHour" > 0)
);

INSERT INTO average_speeds
SELECT * FROM (VALUES (0, 12), (2, 18), (5, 25), (10, 32), (20, 42), (50, 52), (100, 60)) AS usual
WHERE NOT EXISTS (SELECT FROM average_speeds);

CREATE TABLE IF NOT EXISTS conflictvisitmaps_temp (
    "Place" bigint PRIMARY KEY,
    "ID" bigint NOT NULL,
    "SSN" text,
    "VisitID" text,
    "VisitDate" date NOT NULL,
    "ProviderID" text,
    "ProviderName" text,
    "SchStartTime" timestamp,
    "SchEndTime" timestamp,
    "VisitStartTime" timestamp,
    "VisitEndTime" timestamp,
    "PZipCode" text,
    "PLatitude" double precision,
    "PLongitude" double precision,
    "Started" boolean NOT NULL,
    "Begins" timestamp,
    "Ends" timestamp,
    "Located" boolean NOT NULL,
    "KeyPlace" bigint NOT NULL,
    "SmallKey" bigint,
    "LargeKey" bigint
);
-- "Place": position in the order of ("VisitDate", "SSN", "VisitID", "ID"); within a key, the order that decides ties.
-- "KeyPlace": the first place of the row's key. "SmallKey" and "LargeKey" repeat it where a pair can form at all (there
-- is an SSN, there are times, and the key has more than one provider), so that joins by them leave out the rest.
-- Logged on purpose: after a crash of the server an unlogged table would be empty, and an empty chunk looks done.

CREATE INDEX IF NOT EXISTS conflictvisitmaps_temp_pair ON conflictvisitmaps_temp ("VisitDate", "SSN");
CREATE INDEX IF NOT EXISTS conflictvisitmaps_temp_key ON conflictvisitmaps_temp ("KeyPlace");
CREATE INDEX IF NOT EXISTS conflictvisitmaps_temp_small
    ON conflictvisitmaps_temp ("SmallKey") WHERE "SmallKey" IS NOT NULL;
CREATE INDEX IF NOT EXISTS conflictvisitmaps_temp_equal
    ON conflictvisitmaps_temp ("LargeKey", "Begins", "Ends", "Started", "Place") WHERE "LargeKey" IS NOT NULL;
CREATE INDEX IF NOT EXISTS conflictvisitmaps_temp_order
    ON conflictvisitmaps_temp ("KeyPlace", "Started", "Place") WHERE "LargeKey" IS NOT NULL;
