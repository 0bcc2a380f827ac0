"""What a fetch decides on values: which job a command is, where a range ends, and what a raw object holds."""

from services.fetcher.core.jobs import Job, SliceJob, is_over, job_of, slice_job_of
from services.fetcher.core.pages import Progress, RawBody, advance

__all__ = ["Job", "Progress", "RawBody", "SliceJob", "advance", "is_over", "job_of", "slice_job_of"]
