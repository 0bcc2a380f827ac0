"""The validator: raw objects → validated Parquet segments, and quarantine for what is wrong."""
