"""The planner's ports over S3."""

from collections.abc import Sequence
from hashlib import sha256

from pydantic import ValidationError

from contracts.envelope import ClaimCheck
from contracts.segments import Occurrence, OccurrenceList
from services.planner.core import Plan
from services.runtime.failures import ConflictError, MalformedError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectStore

JSON = "application/json"


class S3Plans:
    """Plans in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket

    async def check_in(self, run_id: str, segment_id: str, occurrences: Sequence[Occurrence]) -> ClaimCheck:
        """See the port."""
        body = OccurrenceList(occurrences=list(occurrences)).model_dump_json(exclude_none=True).encode()
        key = f"plans/{run_id}/{segment_id}.json"
        await self._objects.put(self._bucket, key, body, content_type=JSON)
        return ClaimCheck(bucket=self._bucket, key=key, sha256=sha256(body).hexdigest(), size=len(body))

    async def keep(self, plan: Plan) -> Plan:
        """See the port."""
        body = plan.model_dump_json().encode()
        try:
            await self._objects.put(self._bucket, _key(plan.run_id), body, if_match=IF_ABSENT, content_type=JSON)
        except ConflictError:
            kept = await self.find(plan.run_id)
            if kept is None:
                raise
            return kept
        return plan

    async def find(self, run_id: str) -> Plan | None:
        """See the port."""
        try:
            stored = await self._objects.get(self._bucket, _key(run_id))
        except MissingObjectError:
            if await self._objects.head(self._bucket, _key(run_id)) is None:
                return None
            raise
        try:
            return Plan.model_validate_json(stored.body)
        except ValidationError as error:
            raise MalformedError(f"s3://{self._bucket}/{_key(run_id)} is not a plan: {error}") from error


def _key(run_id: str) -> str:
    return f"plans/{run_id}/plan.json"
