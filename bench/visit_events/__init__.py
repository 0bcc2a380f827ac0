"""Visit event logs to one sorted Parquet checkpoint: straightforward implementations next to ours."""
