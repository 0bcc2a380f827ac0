"""Groups: entities that are landed side by side, declared in one file and run by one request.

Each entity becomes a pipeline of its own, ``{group}.{entity}``, with its own watermark, runs and failures. The group
only says what they share: the sources they read and the target they go to.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from contracts.envelope import Contract
from contracts.pipelines import NAME, InvalidPipelineError, Pipeline, Query

GROUP_KEY = "entities"
"""Top-level table that makes a declaration a group's."""


class Group(Contract):
    """A group's declaration, as it is written."""

    name: str = Field(pattern=NAME)
    description: str = ""
    sources: dict[str, dict[str, Any]] = Field(min_length=1, description="what entities of one source share")
    target: dict[str, Any] = Field(description="of all entities")
    entities: dict[str, dict[str, Any]] = Field(min_length=1, description="each with its source's name")
    queries: dict[str, Query] = Field(default_factory=dict, description="each entity is a table of its name")

    @model_validator(mode="after")
    def _sources_are_there(self) -> Self:
        for name, entity in self.entities.items():
            if entity.get("source") not in self.sources:
                raise ValueError(f"entities.{name}.source: {entity.get('source')!r} is none of {sorted(self.sources)}")
        return self

    @property
    def members(self) -> dict[str, str]:
        """Names of the entities' pipelines, by entity."""
        return {entity: f"{self.name}.{entity}" for entity in self.entities}

    def pipelines(self, *, where: str) -> list[Pipeline]:
        """The pipelines of its entities.

        Raises:
            InvalidPipelineError: one of them is wrong; the text says which and where.
        """
        return [self._member(entity, where) for entity in self.entities]

    def _member(self, entity: str, where: str) -> Pipeline:
        own = dict(self.entities[entity])
        source = own.pop("source")
        description = own.pop("description", "")
        shared = {"system": source} | self.sources[source]
        if shared.get("kind") in {"postgres", "snowflake"}:
            shared = {"table": entity} | shared
        document = {
            "name": f"{self.name}.{entity}",
            "description": description,
            "entity": entity,
            "source": shared | own,
            "target": self.target,
        }
        return Pipeline.parse(document, where=f"{where}: entities.{entity}")

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, where: str) -> Self:
        """Read a loaded TOML document.

        Raises:
            InvalidPipelineError: with the file, the place in it and the reason, in one line.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            places = [f"{'.'.join(map(str, d['loc'])) or 'document'}: {d['msg']}" for d in details]
            raise InvalidPipelineError(f"{where}: " + "; ".join(places)) from error
