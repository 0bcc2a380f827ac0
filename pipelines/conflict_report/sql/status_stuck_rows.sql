-- Rows that are marked: by chunks under way, or by chunks whose worker is gone.
SELECT count(*) AS stuck_rows FROM conflictvisitmaps WHERE "UpdateFlag" = 1
