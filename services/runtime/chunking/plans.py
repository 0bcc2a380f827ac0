"""Plans of chunked runs in the state bucket: one list of chunks, and the keys of each under their digest."""

from hashlib import sha256

from pydantic import ValidationError

from contracts.chunks import ChunkKeys, ChunkPlan
from services.runtime.failures import ConflictError, MalformedError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectStore

JSON = "application/json"


class StoredChunkPlans:
    """``ChunkPlans`` over an object store."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket

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
            raise MalformedError(f"s3://{self._bucket}/{key} is no list of keys: {_first(error)}") from error

    async def keep(self, plan: ChunkPlan) -> ChunkPlan:
        """See the port."""
        body = plan.model_dump_json().encode()
        try:
            await self._objects.put(self._bucket, _plan(plan.run_id), body, if_match=IF_ABSENT, content_type=JSON)
        except ConflictError:
            kept = await self.find(plan.run_id)
            if kept is None:
                raise
            return kept
        return plan

    async def find(self, run_id: str) -> ChunkPlan | None:
        """See the port."""
        try:
            stored = await self._objects.get(self._bucket, _plan(run_id))
        except MissingObjectError:
            # Tells a plan that there is not from a bucket that there is not, and from a plan that was kept just now.
            if await self._objects.head(self._bucket, _plan(run_id)) is None:
                return None
            stored = await self._objects.get(self._bucket, _plan(run_id))
        try:
            return ChunkPlan.model_validate_json(stored.body)
        except ValidationError as error:
            raise MalformedError(f"s3://{self._bucket}/{_plan(run_id)} is not a plan: {_first(error)}") from error


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()


def _plan(run_id: str) -> str:
    return f"plans/{run_id}/plan.json"


def _keys(run_id: str, digest: str) -> str:
    return f"plans/{run_id}/chunks/{digest}.json"


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole document'}: {first['msg']}"
