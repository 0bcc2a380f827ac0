"""Ways to run a use case: as a Lambda function behind a queue, or as a long-poll worker."""
