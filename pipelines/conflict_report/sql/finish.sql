-- Run $1 is over: each of its chunks is done.
UPDATE settings SET "InProgressFlag" = 0 WHERE "RunID" = $1::text
