"""Leases in memory: the same record and rules as docs/leases.md, without a database.

``LeaseRules`` exists so that the property test can bend one rule at a time and show that it notices.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, LeaseHeldError, StaleLeaseError, UnreachableError
from services.runtime.leases import TRUST, Lease
from tests.fakes.network import Network, NetworkFaultError, ScriptedNetwork

T = TypeVar("T")
_serial = count(1)

SHORTEST_DELAY_S = 0.05


@dataclass(frozen=True)
class LeaseRules:
    """What makes leases safe. Only the defaults are."""

    trust: float = TRUST
    from_start: bool = True
    watch_ttls: float = 1.0
    renewals_in_order: bool = True
    release_keeps_token: bool = True


@dataclass(frozen=True)
class LeaseRecord:
    """One item of the table; ``owner`` is (owner, instance)."""

    token: int = 0
    owner: tuple[str, int] | None = None
    expires_at: float = 0.0
    ttl_s: float = 0.0
    started: float = 0.0
    write_id: int = 0


@dataclass
class LeaseTable:
    """What the fakes of several processes share. A change is a function from the old record to the new one."""

    records: dict[str, LeaseRecord] = field(default_factory=dict)

    def change(self, resource: str, rule: Callable[[LeaseRecord], LeaseRecord | None]) -> LeaseRecord:
        """Apply a rule atomically; None refuses the change.

        Raises:
            ConflictError: the rule refused.
        """
        changed = rule(self.records.get(resource, LeaseRecord()))
        if changed is None:
            raise ConflictError(f"lease {resource}: the condition does not hold")
        self.records[resource] = changed
        return changed


class FakeLeases:
    """``Leases`` of one process over a shared table."""

    def __init__(
        self,
        clock: Clock,
        table: LeaseTable | None = None,
        network: Network | None = None,
        rules: LeaseRules | None = None,
    ) -> None:
        self.table = table or LeaseTable()
        self._clock = clock
        self._network: Network = network or ScriptedNetwork()
        self._rules = rules or LeaseRules()
        self._instance = next(_serial)
        self._watches: dict[str, tuple[int, float]] = {}

    async def acquire(self, resource: str, owner: str, ttl_s: float) -> Lease:
        """See the port."""
        me = (owner, self._instance)
        started, now, write_id = self._clock.monotonic(), self._clock.now().timestamp(), next(_serial)
        stamp, until = self._watches.get(resource, (0, 0.0))
        watched = stamp if stamp and started >= until else None

        def grant(old: LeaseRecord) -> LeaseRecord | None:
            free, expired, abandoned = old.owner is None, old.expires_at <= now, old.write_id == watched
            if not (free or expired or abandoned):
                return None
            return LeaseRecord(old.token + 1, me, now + ttl_s, ttl_s, started, write_id)

        written, record = await self._write(resource, write_id, grant)
        if not written and record.owner != me:
            raise LeaseHeldError(f"lease {resource} is held", delay=self._delay(resource, record, now))
        self._watches.pop(resource, None)
        return self._lease(resource, owner, record)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """See the port."""
        me = (lease.owner, self._instance)
        started, now, write_id = self._clock.monotonic(), self._clock.now().timestamp(), next(_serial)

        def ours(record: LeaseRecord) -> bool:
            return record.owner == me and record.token == lease.token and record.expires_at > now

        def extend(old: LeaseRecord) -> LeaseRecord | None:
            if not ours(old) or (self._rules.renewals_in_order and old.started > started):
                return None
            return replace(old, expires_at=now + ttl_s, ttl_s=ttl_s, started=started, write_id=write_id)

        written, record = await self._write(lease.resource, write_id, extend)
        if not written and not ours(record):
            raise StaleLeaseError(f"lease {lease.resource} (token {lease.token}) is no longer ours")
        return self._lease(lease.resource, lease.owner, record)

    async def release(self, lease: Lease) -> None:
        """See the port."""
        me, write_id = (lease.owner, self._instance), next(_serial)

        def free(old: LeaseRecord) -> LeaseRecord | None:
            if old.owner != me or old.token != lease.token:
                return None
            token = old.token if self._rules.release_keeps_token else 0
            return LeaseRecord(token=token, write_id=write_id)

        await self._write(lease.resource, write_id, free)

    async def _write(
        self, resource: str, write_id: int, rule: Callable[[LeaseRecord], LeaseRecord | None]
    ) -> tuple[bool, LeaseRecord]:
        try:
            return True, await self._call(lambda: self.table.change(resource, rule))
        except (ConflictError, UnreachableError) as error:
            found = await self._call(lambda: self.table.records.get(resource, LeaseRecord()))
            if found.write_id == write_id:
                return True, found
            if isinstance(error, ConflictError):
                return False, found
            raise

    async def _call(self, effect: Callable[[], T]) -> T:
        async def happen() -> T:
            return effect()

        try:
            return await self._network.carry(happen)
        except NetworkFaultError as fault:
            raise UnreachableError(f"leases: {fault}") from fault

    def _lease(self, resource: str, owner: str, record: LeaseRecord) -> Lease:
        counted_from = record.started if self._rules.from_start else self._clock.monotonic()
        return Lease(resource, owner, record.token, counted_from + self._rules.trust * record.ttl_s)

    def _delay(self, resource: str, record: LeaseRecord, now: float) -> float:
        if record.owner is None:
            return SHORTEST_DELAY_S
        read_at = self._clock.monotonic()
        stamp, until = self._watches.get(resource, (0, 0.0))
        if stamp != record.write_id:
            until = read_at + record.ttl_s * self._rules.watch_ttls
            self._watches[resource] = (record.write_id, until)
        return max(SHORTEST_DELAY_S, min(record.expires_at - now, until - read_at))
