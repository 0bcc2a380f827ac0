"""The sample open-data portal of the embedded stack, as the demo sees it: its control plane, and a plain reader."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from services.runtime.failures import PermanentError, UnreachableError

PAGE = 50_000
TIMEOUT = aiohttp.ClientTimeout(total=120)
OK = 200


class Portal:
    """One server. Every method raises UnreachableError where it does not answer, PermanentError where it refuses."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def generate(self, dataset: str, sample: Mapping[str, Any]) -> None:
        """Put generated rows in the place of a dataset (fields: services/console/demo/service_requests.Sample)."""
        await self._ask("PUT", f"/_control/datasets/{dataset}", {"generate": dict(sample)})

    async def clock(self, now: str) -> None:
        """Show the rows that are published at this floating timestamp, and no others."""
        await self._ask("POST", "/_control/clock", {"now": now})

    async def rows(self, dataset: str, where: str, order: str) -> list[dict[str, Any]]:
        """Every visible row that a condition asks for, read without any of the services' own code."""
        found: list[dict[str, Any]] = []
        while True:
            params = {"$where": where, "$order": order, "$limit": str(PAGE), "$offset": str(len(found))}
            page = await self._ask("GET", f"/resource/{dataset}.json", None, params)
            found += page
            if len(page) < PAGE:
                return found

    async def _ask(self, method: str, path: str, document: Any | None, params: Mapping[str, str] | None = None) -> Any:
        try:
            async with self._http.request(method, self._url + path, json=document, params=params) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(f"the sample portal at {self._url} does not answer: {error}") from error
        if answer.status != OK:
            raise PermanentError(f"the sample portal answers {answer.status} to {method} {path}: {text[:200]}")
        return json.loads(text)


@asynccontextmanager
async def open_portal(url: str) -> AsyncIterator[Portal]:
    """The portal at this address, as long as the block runs."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        yield Portal(url, http)
