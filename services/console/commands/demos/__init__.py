"""What the demo shows of each pipeline, and how it proves it."""
