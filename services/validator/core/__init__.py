"""Judging what a raw document is worth: pure decisions on bytes, with neither I/O nor a clock."""
