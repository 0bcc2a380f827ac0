"""Plans in the state bucket, each written once."""

from collections.abc import Sequence
from hashlib import sha256

from contracts.envelope import ClaimCheck
from contracts.loads import LoadPlan
from contracts.plans import CollectPlan, PlanPreview
from contracts.segments import Occurrence, OccurrenceList
from services.planner.core.scan import Plan
from services.runtime.objects import ObjectStore
from services.runtime.plans import JSON, KeptPlans


class S3Plans(KeptPlans[Plan]):
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


class S3CollectPlans(KeptPlans[CollectPlan]):
    """Plans of collecting runs in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(CollectPlan.model_validate_json, objects, bucket)


class S3LoadPlans(KeptPlans[LoadPlan]):
    """Plans of loads in the state bucket."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        super().__init__(LoadPlan.model_validate_json, objects, bucket)
