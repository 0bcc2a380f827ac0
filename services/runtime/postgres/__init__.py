"""Connecting to PostgreSQL."""
