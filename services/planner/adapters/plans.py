"""Plans in the state bucket, each written once."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Generic, TypeVar

from pydantic import ValidationError

from contracts.envelope import ClaimCheck
from contracts.loads import LoadPlan
from contracts.plans import CollectPlan, PlanPreview
from contracts.segments import Occurrence, OccurrenceList
from services.planner.core.scan import Plan
from services.runtime.failures import ConflictError, MalformedError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectStore

JSON = "application/json"
AnyPlan = TypeVar("AnyPlan", bound=Plan | CollectPlan | LoadPlan)


class _KeptPlans(Generic[AnyPlan]):
    """Plans of one kind in the state bucket, each written once."""

    def __init__(self, read: Callable[[bytes], AnyPlan], objects: ObjectStore, bucket: str) -> None:
        self._read = read
        self._objects = objects
        self._bucket = bucket

    async def keep(self, plan: AnyPlan) -> AnyPlan:
        """See the ports."""
        body = plan.model_dump_json().encode()
        try:
            await self._objects.put(self._bucket, _key(plan.run_id), body, if_match=IF_ABSENT, content_type=JSON)
        except ConflictError:
            kept = await self.find(plan.run_id)
            if kept is None:
                raise
            return kept
        return plan

    async def find(self, run_id: str) -> AnyPlan | None:
        """See the ports."""
        try:
            stored = await self._objects.get(self._bucket, _key(run_id))
        except MissingObjectError:
            if await self._objects.head(self._bucket, _key(run_id)) is None:
                return None
            raise
        try:
            return self._read(stored.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole document"
            raise MalformedError(
                f"s3://{self._bucket}/{_key(run_id)} is not a plan: {place}: {first['msg']}"
            ) from error


class S3Plans(_KeptPlans[Plan]):
    """Plans of object pipelines in the state bucket, and the previews of all."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(Plan.model_validate_json, objects, bucket)

    async def check_in(self, run_id: str, segment_id: str, occurrences: Sequence[Occurrence]) -> ClaimCheck:
        """See the port."""
        body = OccurrenceList(occurrences=list(occurrences)).model_dump_json(exclude_none=True).encode()
        key = f"plans/{run_id}/{segment_id}.json"
        await self._objects.put(self._bucket, key, body, content_type=JSON)
        return ClaimCheck(bucket=self._bucket, key=key, sha256=sha256(body).hexdigest(), size=len(body))

    async def show(self, preview: PlanPreview) -> None:
        """See the port."""
        body = preview.model_dump_json().encode()
        await self._objects.put(self._bucket, f"plans/{preview.run_id}/preview.json", body, content_type=JSON)


class S3CollectPlans(_KeptPlans[CollectPlan]):
    """Plans of collecting runs in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(CollectPlan.model_validate_json, objects, bucket)


class S3LoadPlans(_KeptPlans[LoadPlan]):
    """Plans of loads in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(LoadPlan.model_validate_json, objects, bucket)


def _key(run_id: str) -> str:
    return f"plans/{run_id}/plan.json"
