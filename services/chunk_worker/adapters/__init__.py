"""The worker's ports over PostgreSQL and Step Functions."""
