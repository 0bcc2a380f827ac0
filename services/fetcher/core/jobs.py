"""A command together with the declarations it refers to, and the name of the object it asks for."""

from dataclasses import dataclass
from typing import Literal

from contracts.fetching import FetchSegment
from contracts.fields import EntityField
from contracts.loads import FetchSlice
from contracts.pipelines import Pipeline
from contracts.runs import LoadType, RunState
from contracts.sources import EntitySource, FetchedName, RestSource, SocrataSource
from services.runtime.failures import BadDeclarationError
from services.runtime.ledger import Run


@dataclass(frozen=True, slots=True)
class Job:
    """A range of a dataset."""

    command: FetchSegment
    pipeline: Pipeline
    source: SocrataSource
    bucket: str

    @property
    def key(self) -> str:
        """Key of the segment's raw object, the same for every delivery of the command."""
        return _key(self.command, self.source.prefix, "json.gz")

    @property
    def location(self) -> str:
        """``{bucket}/{key}``."""
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class SliceJob:
    """A slice of an entity."""

    command: FetchSlice
    pipeline: Pipeline
    source: EntitySource
    bucket: str

    @property
    def is_typed(self) -> bool:
        """Whether the source types its rows, so that they go into a landing file."""
        return not isinstance(self.source, RestSource)

    @property
    def fields(self) -> list[EntityField]:
        """What is read, in this order."""
        return fields_read(self.command, self.source)

    @property
    def key(self) -> str:
        """Key of the segment's raw object, the same for every delivery of the command."""
        return _key(self.command, self.source.prefix, "land" if self.is_typed else "json.gz")

    @property
    def location(self) -> str:
        """``{bucket}/{key}``."""
        return f"{self.bucket}/{self.key}"


def job_of(command: FetchSegment, pipelines: dict[str, Pipeline], raw_bucket: str) -> Job:
    """What a command asks for.

    Raises:
        BadDeclarationError: there is no such pipeline, or it is not collected from a source.
    """
    pipeline = _declared(command.pipeline, pipelines)
    if not isinstance(pipeline.source, SocrataSource):
        raise BadDeclarationError(f"pipeline {pipeline.name} collects objects of others: there is nothing to fetch")
    return Job(command, pipeline, pipeline.source, pipeline.source.bucket or raw_bucket)


def slice_job_of(command: FetchSlice, pipelines: dict[str, Pipeline], raw_bucket: str) -> SliceJob:
    """What a command asks for.

    Raises:
        BadDeclarationError: there is no such pipeline, or it is not that of an entity.
    """
    pipeline = _declared(command.pipeline, pipelines)
    if not isinstance(pipeline.source, EntitySource):
        raise BadDeclarationError(f"pipeline {pipeline.name} lands no entity: it has no slices to fetch")
    return SliceJob(command, pipeline, pipeline.source, pipeline.source.bucket or raw_bucket)


def fields_read(command: FetchSlice, source: EntitySource) -> list[EntityField]:
    """The fields of a command that its slice is read with: a load of keys has no use for the others."""
    if command.load_type is not LoadType.KEYS:
        return command.fields
    return [field for field in command.fields if field.name in source.key]


def is_over(run: Run) -> bool:
    """Whether a run has ended, so that none of its segments is needed any more."""
    return run.state not in {RunState.PLANNING, RunState.RUNNING}


def _declared(name: str, pipelines: dict[str, Pipeline]) -> Pipeline:
    pipeline = pipelines.get(name)
    if pipeline is None:
        raise BadDeclarationError(f"there is no pipeline {name!r} here")
    return pipeline


def _key(command: FetchSegment | FetchSlice, prefix: str, suffix: Literal["json.gz", "land"]) -> str:
    name = FetchedName(
        run_date=command.run_date,
        pipeline=command.pipeline,
        run_id=command.run_id,
        segment_id=command.segment_id,
        suffix=suffix,
    )
    return name.key(prefix)
