"""What only the fetcher needs from outside."""

from dataclasses import dataclass
from typing import Protocol

from contracts.pipelines import Pipeline
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.datasets import Datasets
from services.runtime.ledger import Ledger
from services.runtime.telemetry import Telemetry


class RawObjects(Protocol):
    """Raw objects with the number of rows they hold. What was created once is never replaced.

    Raises (all methods): AccessDeniedError, MissingObjectError for a missing bucket, UnreachableError.
    """

    async def rows(self, bucket: str, key: str) -> int | None:
        """Rows of the raw object that is there, or None.

        Raises:
            MalformedError: there is an object, and no fetcher wrote it.
        """
        ...

    async def create(self, bucket: str, key: str, body: bytes, *, rows: int) -> bool:
        """Create a raw object of gzip-compressed NDJSON; False if there was one already, which is left alone.

        A try of our own whose answer was lost counts as an object that was there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use case works with."""

    pipelines: dict[str, Pipeline]
    raw_bucket: str
    datasets: Datasets
    raw: RawObjects
    ledger: Ledger
    completion: Completion
    telemetry: Telemetry
    clock: Clock
