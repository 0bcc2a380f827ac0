"""Chunked jobs: what their planning, their workers and their operators share."""
