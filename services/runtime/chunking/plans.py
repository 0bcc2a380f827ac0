"""Plans of chunked runs in the state bucket: one list of chunks, and the keys of each under their digest."""

from hashlib import sha256

from pydantic import ValidationError

from contracts.chunks import ChunkKeys, ChunkPlan
from services.runtime.failures import MalformedError
from services.runtime.objects import ObjectStore
from services.runtime.plans import JSON, KeptPlans, what_is_wrong


class StoredChunkPlans(KeptPlans[ChunkPlan]):
    """``ChunkPlans`` over an object store."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(ChunkPlan.model_validate_json, objects, bucket)

    async def check_in(self, run_id: str, keys: ChunkKeys) -> str:
        """See the port."""
        body = keys.model_dump_json().encode()
        digest = sha256(body).hexdigest()
        await self._objects.put(self._bucket, _keys(run_id, digest), body, content_type=JSON)
        return digest

    async def keys(self, run_id: str, sha256: str) -> ChunkKeys:
        """See the port."""
        key = _keys(run_id, sha256)
        body = (await self._objects.get(self._bucket, key)).body
        if _digest(body) != sha256:
            raise MalformedError(f"s3://{self._bucket}/{key} is not what the plan of run {run_id} was made with")
        try:
            return ChunkKeys.model_validate_json(body)
        except ValidationError as error:
            raise MalformedError(f"s3://{self._bucket}/{key} is no list of keys: {what_is_wrong(error)}") from error


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()


def _keys(run_id: str, digest: str) -> str:
    return f"plans/{run_id}/chunks/{digest}.json"
