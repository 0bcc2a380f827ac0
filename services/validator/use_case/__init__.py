"""What the validator does: a batch of requests, each for a segment of uploaded objects or of fetched rows."""

from services.validator.use_case.batch import validate_batch

__all__ = ["validate_batch"]
