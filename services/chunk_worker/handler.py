"""The chunk worker as a Lambda function: behind its queue, or invoked with an action."""

from collections.abc import Mapping
from typing import Any

from services.chunk_worker.bootstrap import ChunkWorker, build
from services.runtime.shells.lambda_batch import LambdaBatch


class ChunkFunction(LambdaBatch[ChunkWorker]):
    """A Lambda handler; an event that names an action is answered with its result.

    Raises (on call):
        TidegateError: the action cannot be carried out, or not now; the text says why.
        MalformedError: the event is neither an action nor an SQS batch.
    """

    def __call__(self, event: Any, context: Any) -> Mapping[str, Any]:
        """Carry out an action, or handle a batch."""
        if not isinstance(event, dict) or "action" not in event:
            return super().__call__(event, context)
        return self.run(lambda worker: worker.act(event), context).model_dump(mode="json")


handler = ChunkFunction(build)
