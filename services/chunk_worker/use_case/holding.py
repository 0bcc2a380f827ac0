"""Working while a lease lasts: it is renewed all the while, and work whose lease is lost is stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar
from uuid import uuid4

import structlog

from services.chunk_worker.ports import Ports
from services.runtime.failures import ConflictError, TidegateError
from services.runtime.leases import Lease, held

log = structlog.get_logger()

RENEWALS_PER_TTL = 3
T = TypeVar("T")


async def hold(ports: Ports, resource: str, work: Callable[[Lease], Awaitable[T]], *, token: str | None = None) -> T:
    """Do work that only the holder of a lease may do; ``token``: of a state machine that hears of it meanwhile.

    Work that is stopped is cancelled and waited for, so that nothing of it goes on when this returns.

    Raises:
        LeaseHeldError: somebody else holds the lease.
        StaleLeaseError: it was lost; the work was stopped.
    """
    async with held(ports.leases, resource, f"{ports.owner}/{uuid4().hex}", ports.lease_ttl_s) as lease:
        working = asyncio.ensure_future(work(lease))
        keeping = asyncio.ensure_future(_keep(ports, lease, token))
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.warning("lease lost: its work is stopped", resource=resource)
                await _stop(working)
            if working.cancelled() and keeping.done():
                keeping.result()
            return working.result()
        finally:
            await _stop(keeping)
            await _stop(working)


async def beat(ports: Ports, token: str | None) -> None:
    """Tell a state machine, if one waits, that somebody is at it; it waits for a while if it does not hear that."""
    if token is None:
        return
    try:
        if not await ports.answers.heartbeat(token):
            log.info("no state machine waits for this any more")
    except TidegateError as error:
        log.warning("state machine did not hear the heartbeat", error=str(error))


async def _keep(ports: Ports, lease: Lease, token: str | None) -> NoReturn:
    while True:
        await asyncio.sleep(ports.lease_ttl_s / RENEWALS_PER_TTL)
        try:
            lease = await ports.leases.renew(lease, ports.lease_ttl_s)
        except ConflictError:
            raise
        except TidegateError as error:
            log.warning("lease not renewed", resource=lease.resource, error=str(error))
            lease.check(ports.clock)
        await beat(ports, token)


async def _stop(task: asyncio.Future[T]) -> None:
    """Cancel a task and wait until it is over."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # whoever stopped it has a reason of its own, and this one was seen
