"""Plans in the state bucket: each lies at ``plans/{run_id}/plan.json`` and is written once, whatever runs it is of."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pydantic import ValidationError

from services.runtime.failures import ConflictError, MalformedError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectStore

JSON = "application/json"


class RunPlan(Protocol):
    """What every plan has."""

    @property
    def run_id(self) -> str:
        """The run that it is of."""
        ...

    def model_dump_json(self) -> str:
        """Its text."""
        ...


AnyPlan = TypeVar("AnyPlan", bound=RunPlan)


class KeptPlans(Generic[AnyPlan]):
    """Plans of one kind. ``read`` makes one of its text and raises Pydantic's ValidationError where it is none."""

    def __init__(self, read: Callable[[bytes], AnyPlan], objects: ObjectStore, bucket: str) -> None:
        self._read = read
        self._objects = objects
        self._bucket = bucket

    async def keep(self, plan: AnyPlan) -> AnyPlan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        body = plan.model_dump_json().encode()
        try:
            await self._objects.put(self._bucket, key_of(plan.run_id), body, if_match=IF_ABSENT, content_type=JSON)
        except ConflictError:
            kept = await self.find(plan.run_id)
            if kept is None:
                raise
            return kept
        return plan

    async def find(self, run_id: str) -> AnyPlan | None:
        """The plan of a run, if it was made.

        Raises:
            MalformedError: what lies in its place is not one.
        """
        key = key_of(run_id)
        try:
            stored = await self._objects.get(self._bucket, key)
        except MissingObjectError:
            # Tells a plan that there is not from a bucket that there is not, and from a plan that was kept just now.
            if await self._objects.head(self._bucket, key) is None:
                return None
            stored = await self._objects.get(self._bucket, key)
        try:
            return self._read(stored.body)
        except ValidationError as error:
            raise MalformedError(f"s3://{self._bucket}/{key} is not a plan: {what_is_wrong(error)}") from error


def key_of(run_id: str) -> str:
    """Where a run's plan lies in the state bucket."""
    return f"plans/{run_id}/plan.json"


def what_is_wrong(error: ValidationError) -> str:
    """The first place in a document that is wrong, and why; never what stands there."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole document'}: {first['msg']}"
