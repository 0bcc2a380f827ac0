"""Statements that make home-care visits, each over the whole set at once."""

from collections.abc import Sequence

PREPARE: Sequence[str] = (
    """
    CREATE OR REPLACE FUNCTION pg_temp.dice(seed bigint, n bigint, sides bigint) RETURNS bigint IMMUTABLE LANGUAGE sql
    AS 'SELECT abs(hashint8extended(n, seed) % sides)'
    """,
    "CREATE TEMP TABLE home_care (n bigint, visit_day date, ssn text) ON COMMIT DROP",
)
"""``dice`` is the same number from 0 to ``sides`` - 1 for the same seed and n."""

KEYS = r"""
INSERT INTO home_care
SELECT row_number() OVER (), $3::date + least(key * $4::bigint * 29 / ($2::bigint * 10 + 1), $4 - 1)::integer,
    CASE
        WHEN key % 211 = 0 THEN NULL
        WHEN key % 401 = 0 THEN 'O''Neil "' || key || '" \ $1; --'
        WHEN key % 503 = 0 THEN 'Žofie 李 🙂 ' || key
        WHEN key % 607 = 0 THEN ''
        ELSE to_char(1 + pg_temp.dice($1, key, 899), 'FM000') || to_char(key % 1000000, 'FM-000000')
    END
FROM generate_series(0, $2::bigint) AS key,
    generate_series(1, (ARRAY[8, 6, 4, 3, 2, 2, 1, 1, 1, 1])[1 + pg_temp.dice($1 + 1, key, 10)])
LIMIT $2::bigint
"""
"""Parameters: the seed, rows, the first day, days. Keys lie in the order of their days, 2.9 rows each on average."""

PLACEHOLDER = """
INSERT INTO home_care
SELECT (SELECT count(*) FROM home_care) + n, $2::date + ($3::bigint / 2)::integer, '000-000000'
FROM generate_series(1, $1::bigint) AS n
"""
"""Parameters: rows of the one large key, the first day, days."""

VISITS = """
INSERT INTO conflictvisitmaps (
    "ID", "CONFLICTID", "SSN", "VisitID", "VisitDate", "ProviderID", "ProviderName",
    "SchStartTime", "SchEndTime", "VisitStartTime", "VisitEndTime",
    "PZipCode", "PLatitude", "PLongitude", "PayerID", "BilledHours"
)
SELECT id, CASE WHEN id % 3 = 0 THEN id / 3 END, ssn, 'V' || to_char(twin, 'FM0000000'), visit_day,
    'P' || provider, 'Home Care ' || provider || CASE WHEN provider % 7 = 0 THEN ' "Ångström" & Søn''s' ELSE '' END,
    CASE WHEN pg_temp.dice($1 + 10, n, 97) > 0 THEN scheduled END,
    CASE WHEN pg_temp.dice($1 + 11, n, 97) > 0 THEN scheduled + lasts END,
    CASE WHEN begun < 65 THEN scheduled + drift END,
    CASE WHEN begun < 62 THEN scheduled + drift + lasts END,
    CASE WHEN place % 23 > 0 THEN '1' || to_char(place, 'FM0000') END,
    CASE WHEN place % 29 > 0 THEN 40.5 + (place % 20) * 0.04 END,
    CASE WHEN place % 29 > 0 THEN -74.3 + (place / 20) * 0.05 END,
    'PAYER' || n % 12, extract(epoch FROM lasts) / 3600
FROM (
    SELECT drawn.*, row_number() OVER (ORDER BY n + pg_temp.dice($1 + 2, n, 2000)) AS id,
        n - (pg_temp.dice($1 + 3, n, 200) = 0)::integer AS twin,
        1 + pg_temp.dice($1 + 4, n, 60) AS provider,
        visit_day + make_interval(mins => 360 + 15 * pg_temp.dice($1 + 5, n, 56)::integer) AS scheduled,
        make_interval(mins => 15 * pg_temp.dice($1 + 6, n, 14)::integer) AS lasts,
        make_interval(mins => greatest(0, pg_temp.dice($1 + 7, n, 24)::integer - 12)) AS drift,
        pg_temp.dice($1 + 8, n, 100) AS begun,
        pg_temp.dice($1 + 9, n, 400) AS place
    FROM home_care AS drawn
) AS visits
ORDER BY id
"""
"""Parameter: the seed. IDs follow the days, as visits are entered, though not strictly."""

CONFLICTS = """
INSERT INTO conflicts
SELECT "CONFLICTID", 'U', 'N' FROM conflictvisitmaps WHERE "CONFLICTID" IS NOT NULL
"""
