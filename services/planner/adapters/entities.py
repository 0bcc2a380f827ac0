"""Entities by the kind of source that holds them."""

from collections.abc import Callable, Mapping

from contracts.pipelines import Pipeline
from services.planner.ports import Entity
from services.runtime.failures import BadDeclarationError

Opener = Callable[[Pipeline], Entity]
"""Opens the entity of a pipeline whose source is of one kind."""


class SourceEntities:
    """``Entities`` that hands each pipeline to whoever knows the kind of its source."""

    def __init__(self, openers: Mapping[str, Opener]) -> None:
        self._openers = openers

    def of(self, pipeline: Pipeline) -> Entity:
        """See the port."""
        opener = self._openers.get(pipeline.source.kind)
        if opener is None:
            raise BadDeclarationError(
                f"this planner does not read sources of kind {pipeline.source.kind!r}; it reads {sorted(self._openers)}"
            )
        return opener(pipeline)
