"""Leases in DynamoDB. The record, the transitions and why they are safe: docs/leases.md."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.runtime.aws import stamped
from services.runtime.aws.items import Item
from services.runtime.aws.stamped import Refused
from services.runtime.clock import Clock
from services.runtime.failures import LeaseHeldError, StaleLeaseError
from services.runtime.leases import TRUST, Lease

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

FREE = "attribute_not_exists(#owner)"
EXPIRED = "#expires_at <= :now"
ABANDONED = "#write_id = :watched"
OURS = "#owner = :owner AND #instance = :instance AND #token = :token"
ALIVE = "#expires_at > :now"
IN_ORDER = "#started <= :started"

MAY_TAKE = f"{FREE} OR {EXPIRED}"
MAY_TAKE_WATCHED = f"{MAY_TAKE} OR {ABANDONED}"
MAY_RENEW = f"{OURS} AND {ALIVE} AND {IN_ORDER}"

TERM = "#expires_at = :expires_at, #ttl_ms = :ttl_ms, #started = :started"
GRANT = f"#owner = :owner, #instance = :instance, #token = if_not_exists(#token, :zero) + :one, {TERM}"

WATCHED_RESOURCES = 1_024
"""Most resources watched at once; forgetting one only costs another wait of its TTL."""
MS_PER_S = 1_000
US_PER_S = 1_000_000
SHORTEST_DELAY_S = 0.05
"""So that a waiter whose record expired between the write and the read does not spin."""


@dataclass(frozen=True, slots=True)
class _Watch:
    write_id: str
    until: float
    """A TTL after our monotonic reading when the answer that first showed it had arrived."""


class DynamoLeases:
    """``Leases`` over one table.

    Grants belong to the instance through which they were acquired: belief is counted on this instance's monotonic
    clock, so another process that uses the same owner name is another holder.
    """

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._instance = uuid4().hex
        self._watches: OrderedDict[str, _Watch] = OrderedDict()

    async def acquire(self, resource: str, owner: str, ttl_s: float) -> Lease:
        """Take the lease if it is free, expired, or was watched without a sign of life for its TTL.

        Raises:
            LeaseHeldError: another owner holds it; ``delay`` is the time until it can be taken, in seconds.
            TemporaryError, UnreachableError: the outcome is unknown; repeat with the same owner.
        """
        term = self._term(ttl_s)
        watched = self._abandoned(resource)
        outcome = await stamped.write(
            self._client,
            self._table,
            {"resource": resource},
            assign=GRANT,
            condition=MAY_TAKE_WATCHED if watched else MAY_TAKE,
            values=term
            | {"owner": owner, "instance": self._instance, "zero": 0, "one": 1}
            | ({"watched": watched} if watched else {}),
        )
        item = outcome.item or {}
        if isinstance(outcome, Refused) and not self._holds(item, owner):
            raise LeaseHeldError(
                f"lease {resource} is held by {item.get('owner', 'somebody who just released it')}"
                f" (token {item.get('token', 0)})",
                delay=self._delay(resource, item, term["now"]),
            )
        self._watches.pop(resource, None)
        return self._lease(item)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Extend a lease that is still ours (same owner, same token).

        Raises:
            StaleLeaseError: it expired, or somebody else was granted it.
            TemporaryError, UnreachableError: the outcome is unknown; the lease at hand stays what it was.
        """
        term = self._term(ttl_s)
        outcome = await stamped.write(
            self._client,
            self._table,
            {"resource": lease.resource},
            assign=TERM,
            condition=MAY_RENEW,
            values=term | self._identity(lease),
        )
        item = outcome.item or {}
        if isinstance(outcome, Refused):
            # Still ours and refused: it expired, or a younger renewal of ours has overtaken this one.
            ours = self._holds(item, lease.owner) and item["token"] == lease.token
            if not ours or item["expires_at"] <= term["now"]:
                raise StaleLeaseError(
                    f"lease {lease.resource} (token {lease.token}) is no longer held by {lease.owner};"
                    f" the last grant has token {item.get('token', 0)}"
                )
        return self._lease(item)

    async def release(self, lease: Lease) -> None:
        """Give it back and keep its token. Releasing a lease that is no longer ours changes nothing.

        Raises:
            TemporaryError, UnreachableError: the outcome is unknown; repeat it or let the lease expire.
        """
        await stamped.write(
            self._client,
            self._table,
            {"resource": lease.resource},
            assign="#token = :token",
            remove="#owner, #instance, #expires_at, #started",
            condition=OURS,
            values=self._identity(lease),
        )

    def _term(self, ttl_s: float) -> dict[str, int]:
        # Monotonic before wall: a pause between the two may only make the record outlive the belief.
        started = int(self._clock.monotonic() * US_PER_S)
        now = int(self._clock.now().timestamp() * MS_PER_S)
        ttl_ms = round(ttl_s * MS_PER_S)
        return {"started": started, "now": now, "ttl_ms": ttl_ms, "expires_at": now + ttl_ms}

    def _identity(self, lease: Lease) -> dict[str, Any]:
        return {"owner": lease.owner, "instance": self._instance, "token": lease.token}

    def _holds(self, item: Item, owner: str) -> bool:
        return item.get("owner") == owner and item.get("instance") == self._instance

    def _lease(self, item: Item) -> Lease:
        trusted_us = item["started"] + TRUST * item["ttl_ms"] * US_PER_S / MS_PER_S
        return Lease(item["resource"], item["owner"], item["token"], trusted_us / US_PER_S)

    def _abandoned(self, resource: str) -> str | None:
        """The stamp that has stood unchanged for its whole TTL, as far as this instance has watched it."""
        watch = self._watches.get(resource)
        return watch.write_id if watch and self._clock.monotonic() >= watch.until else None

    def _delay(self, resource: str, item: Item, now: int) -> float:
        """Seconds until the lease can be taken; starts to watch a stamp that is new to us."""
        if "owner" not in item:
            return SHORTEST_DELAY_S
        read_at = self._clock.monotonic()
        watch = self._watches.get(resource)
        if watch is None or watch.write_id != item["write_id"]:
            watch = _Watch(item["write_id"], read_at + item["ttl_ms"] / MS_PER_S)
            self._watches[resource] = watch
            if len(self._watches) > WATCHED_RESOURCES:
                self._watches.popitem(last=False)
        by_wall_clock: float = (item["expires_at"] - now) / MS_PER_S
        return max(SHORTEST_DELAY_S, min(by_wall_clock, watch.until - read_at))
