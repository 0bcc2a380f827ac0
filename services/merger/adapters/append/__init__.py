"""The append strategy: a new end for a sorted Parquet object, whose beginning is never read."""
