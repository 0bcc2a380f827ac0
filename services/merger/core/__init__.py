"""Decisions of the merger; pure."""
