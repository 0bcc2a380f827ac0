"""Merging a thousand events into a table that is already large."""
