"""The people of the lease machine: processes, what they believe, and the fence they write behind."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from services.runtime.failures import TidegateError
from services.runtime.leases import Lease, Leases
from tests.fakes.clock import ManualClock
from tests.fakes.network import GatedNetwork, Network


class BrokenInvariantError(AssertionError):
    """The machine found a way to break what docs/leases.md promises."""


class Backend(Protocol):
    """Where the lease lives. One instance serves one example."""

    resource: str

    def process(self, clock: ManualClock, network: Network) -> Leases:
        """The leases as one new process sees them."""
        ...

    async def token(self) -> int:
        """The token of the last grant, read behind everybody's back."""
        ...


@dataclass
class Holder:
    """One process and what it believes."""

    name: str
    clock: ManualClock
    network: GatedNetwork
    leases: Leases
    lives: int = 0
    attempts: int = 0
    owner: str = ""
    lease: Lease | None = None
    souvenir: Lease | None = None
    """The last lease it ever had: what a process writes with that was stopped between check and write."""
    task: "asyncio.Task[Lease | None] | None" = None

    @property
    def trusts(self) -> bool:
        """Whether it would pass ``Lease.check`` now."""
        return self.lease is not None and self.clock.monotonic() < self.lease.trusted_until


@dataclass
class Fence:
    """A place of protected writes: refuses a token older than the youngest it has seen."""

    youngest: int = 0
    writers: dict[int, set[str]] = field(default_factory=dict)

    def write(self, token: int, writer: str) -> bool:
        """Whether the write was let in."""
        if token < self.youngest:
            return False
        self.youngest = token
        self.writers.setdefault(token, set()).add(writer)
        return True


def expect(holds: bool, promise: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Raise BrokenInvariantError unless the promise holds."""
    if not holds:
        raise BrokenInvariantError(promise)


async def parked_or_done(task: "asyncio.Task[Lease | None]", network: GatedNetwork) -> None:
    """Wait until the operation needs a decision or has ended."""
    parked = asyncio.create_task(network.reached())
    await asyncio.wait({task, parked}, return_when=asyncio.FIRST_COMPLETED)
    parked.cancel()


async def over(task: "asyncio.Task[Lease | None]") -> None:
    """Wait until a cancelled operation has ended; it may have failed by itself, but only in our own words."""
    await asyncio.wait({task})
    if not task.cancelled() and isinstance(task.exception(), BaseException):
        expect(isinstance(task.exception(), TidegateError), f"died of {task.exception()!r}")
