"""The sample commerce API of the embedded stack, as the demo sees it: its control plane, and records for it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp

from services.console.demo.dice import Dice
from services.runtime.failures import PermanentError, UnreachableError

TIMEOUT = aiohttp.ClientTimeout(total=60)
OK = 200
BATCH = 2_000
"""Records in one request of the control plane."""
_POLL_S = 0.05

Record = dict[str, Any]


class CommerceApi:
    """One server. Every method raises UnreachableError where it does not answer, PermanentError where it refuses."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def ready(self, deadline_s: float) -> None:
        """Wait until it answers, at most ``deadline_s`` seconds."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                await self._ask("GET", "/_control/stats")
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_POLL_S)
            else:
                return

    async def put(self, entity: str, records: Sequence[Record]) -> None:
        """Add records, or change those whose keys are there."""
        for start in range(0, len(records), BATCH):
            await self._ask("POST", f"/_control/records/{entity}", list(records[start : start + BATCH]))

    async def is_empty(self) -> bool:
        """Whether it has no records yet."""
        stats = await self._ask("GET", "/_control/stats")
        return not any(stats["records"].values())

    async def records(self, entity: str) -> list[Record]:
        """Every record, as it was put; numbers with a point are Decimals."""
        found: list[Record] = await self._ask("GET", f"/_control/records/{entity}")
        return found

    async def _ask(self, method: str, path: str, document: Any | None = None) -> Any:
        try:
            async with self._http.request(method, self._url + path, json=document) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"the sample API at {self._url} does not answer: {error}") from error
        if answer.status != OK:
            raise PermanentError(f"the sample API answers {answer.status} to {method} {path}: {text[:200]}")
        return json.loads(text, parse_float=Decimal)


@asynccontextmanager
async def open_commerce(url: str) -> AsyncIterator[CommerceApi]:
    """The API at this address, as long as the block runs."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        yield CommerceApi(url, http)


def payments_of(orders: Sequence[Mapping[str, Any]], seed: int) -> list[Record]:
    """A payment for each order; a few are not paid yet. ``orders`` have order_id, total and ordered_at."""
    dice = Dice(seed)
    found = []
    for order in orders:
        paid = order["ordered_at"] + timedelta(minutes=dice.between(1, 30))
        is_open = dice.chance(0.03)
        found.append(
            {
                "payment_id": f"pay-{order['order_id']:08d}",
                "order_id": order["order_id"],
                "amount": _number(order["total"]),
                "currency": "USD",
                "method": dice.pick(["card", "transfer", "voucher", None]),
                "status": "pending" if is_open else "captured",
                "paid_at": None if is_open else zulu(paid),
                "updated_at": zulu(paid),
            }
        )
    return found


def shipments_of(orders: Sequence[Mapping[str, Any]], seed: int) -> list[Record]:
    """Shipments of two orders in three; some are under way."""
    dice = Dice(seed + 1)
    found = []
    for order in orders:
        sent = order["ordered_at"] + timedelta(minutes=dice.between(31, 59))
        arrived = dice.chance(0.7)
        weight = dice.between(50, 30_000)
        if dice.chance(0.66):
            found.append(
                {
                    "shipment_id": f"shp-{order['order_id']:08d}",
                    "order_id": order["order_id"],
                    "carrier": dice.pick(["Blue Parcel", 'Say "Fast"', "Läufer & Söhne"]),
                    "tracking_code": f"T{dice.between(10**8, 10**9 - 1)}" if dice.chance(0.9) else None,
                    "status": "delivered" if arrived else "under way",
                    "weight_kg": weight / 1000,
                    "shipped_on": _day(sent),
                    "delivered_at": zulu(sent) if arrived else None,
                    "packages": [f"P{n}" for n in range(dice.between(0, 3))],
                    "updated_at": zulu(sent),
                }
            )
    return found


def zulu(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _day(moment: datetime) -> str:
    day: date = moment.date()
    return day.isoformat()


def _number(amount: Decimal) -> float:
    """As JSON has it; two decimal places survive."""
    return float(amount)
