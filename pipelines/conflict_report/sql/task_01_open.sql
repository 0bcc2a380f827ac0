-- First of task 01's one transaction. $1 run. Waits for the chunks of an earlier run that are being updated; from its
-- commit on, they are refused.
UPDATE settings SET "InProgressFlag" = 1, "RunID" = $1::text, "SnapshotAt" = now()
