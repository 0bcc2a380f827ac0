"""Records of an API as the planner sees them: nothing is asked, as only reading them tells how many there are."""

from collections.abc import Sequence
from datetime import datetime

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.pipelines import Pipeline
from contracts.sources import RestSource
from services.planner.ports import Cut
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError


class RestEntity:
    """``Entity`` of declared fields, read in one piece."""

    def __init__(self, source: RestSource) -> None:
        self._source = source

    @classmethod
    def open(cls, pipeline: Pipeline) -> "RestEntity":
        """The entity of a pipeline.

        Raises:
            BadDeclarationError: its declaration is of another kind, or stands for a variable that is not set.
        """
        source = pipeline.source
        if not isinstance(source, RestSource):
            raise BadDeclarationError(f"{pipeline.name} reads no API but {source.kind!r}")
        for place, text in (("url", source.url), ("secret", source.secret or "")):
            if (variable := unset_variable(text)) is not None:
                raise BadDeclarationError(f"source.{place} needs {variable}, which is not set")
        return cls(source)

    async def describe(self) -> list[EntityField]:
        """The declared fields."""
        return [EntityField(name=name, type=type_) for name, type_ in self._source.fields.items()]

    async def ceiling(self, now: datetime) -> datetime:
        """Now: what may still change below it is left to the frontier, which stays behind by the declared lag."""
        return now

    async def cut(
        self,
        start: str,
        end: str,
        fields: Sequence[EntityField],  # noqa: ARG002 - of whatever fields, it is one slice
        *,
        whole: bool,
    ) -> list[Cut]:
        """One slice; how many rows it has is not known."""
        return [Cut(Slice(start=start, end=end, undated=whole), 0)]
