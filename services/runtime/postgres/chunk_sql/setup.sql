-- First of the transaction that makes tables and functions: one at a time in this database, until it is over.
SELECT pg_advisory_xact_lock(hashtext('tidegate'), 0)
