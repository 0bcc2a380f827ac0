"""What the chunk worker does: a batch of commands, each for a chunk or for an action."""

from services.chunk_worker.use_case.batch import work_batch
from services.chunk_worker.use_case.direct import act_directly

__all__ = ["act_directly", "work_batch"]
