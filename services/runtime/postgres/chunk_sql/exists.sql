-- 1 if any chunked job was ever prepared in this database, else 0.
SELECT (to_regclass('tidegate_jobs') IS NOT NULL AND to_regclass('tidegate_chunks') IS NOT NULL)::integer AS made
