"""The bronze tier: a table of PostgreSQL to Parquet on S3, ours next to dlt and to what is possible at best."""
