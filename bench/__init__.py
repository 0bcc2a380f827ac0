"""Benchmarks: candidates side by side on the same machine, in the same run, compared by ratios."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
