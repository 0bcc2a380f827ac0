"""The merger's ports over S3, Parquet and Arrow."""
