"""Judging visit events: the fast path next to Pydantic row by row."""
