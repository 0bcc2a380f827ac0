-- Last of task 01's transaction: without fresh statistics, plans of task 02 would be made for an empty table.
ANALYZE conflictvisitmaps_temp
