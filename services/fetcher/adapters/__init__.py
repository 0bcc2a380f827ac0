"""The fetcher's ports over S3 and over sources."""
