-- Rows that chunks of earlier runs left marked: nobody can complete them now, and this run need not cover them.
UPDATE conflictvisitmaps SET "UpdateFlag" = NULL WHERE "UpdateFlag" = 1
