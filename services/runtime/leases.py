"""Leases: expiring ownership of a resource, with a fencing token (state machine: docs/leases.md)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.runtime.clock import Clock
from services.runtime.failures import StaleLeaseError, TidegateError

log = structlog.get_logger()

TRUST = 0.8
"""Share of the TTL for which a holder trusts its lease; the rest absorbs clock drift and network time."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A grant. ``token`` grows by one with every grant of the resource, to whomever."""

    resource: str
    owner: str
    token: int
    trusted_until: float
    """Reading of the holder's monotonic clock, counted from when the acquisition *started*."""

    def check(self, clock: Clock) -> None:
        """Refuse to go on once the lease can no longer be trusted.

        Raises:
            StaleLeaseError: the trusted part of the TTL has passed.
        """
        if clock.monotonic() >= self.trusted_until:
            raise StaleLeaseError(f"lease {self.resource} (token {self.token}) is no longer trusted by {self.owner}")


class Leases(Protocol):
    """Grants, renews and releases leases. Every method is safe to repeat after an unknown outcome."""

    async def acquire(self, resource: str, owner: str, ttl_s: float) -> Lease:
        """Take the lease if it is free or expired; the token is one more than the last grant's.

        ``owner`` must be unique per acquisition. A grant whose answer was lost is recognised by its owner and
        returned as it was granted.

        Raises:
            LeaseHeldError: another owner holds it; ``delay`` is the time until it expires, in seconds.
        """
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Extend a lease that is still ours (same owner, same token).

        Raises:
            StaleLeaseError: it expired, or somebody else was granted it.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give it back. Releasing a lease that is no longer ours changes nothing."""
        ...


@asynccontextmanager
async def held(leases: Leases, resource: str, owner: str, ttl_s: float) -> AsyncIterator[Lease]:
    """Hold a lease for a block and give it back afterwards, whatever happened.

    A lease that cannot be given back runs out by itself: that must not turn finished work into a failure.
    """
    lease = await leases.acquire(resource, owner, ttl_s)
    try:
        yield lease
    finally:
        try:
            await leases.release(lease)
        except TidegateError as error:
            log.warning("lease not released; it will expire", resource=resource, error=str(error))
