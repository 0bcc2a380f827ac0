"""NYC 311 service requests, from a sample Socrata server to Parquet on S3: ours next to what is usually written."""
