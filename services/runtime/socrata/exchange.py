"""Questions to one dataset of a portal."""

import aiohttp

from contracts.sources import SocrataSource
from services.runtime.budgets import RateBudget
from services.runtime.http import exchange
from services.runtime.http.exchange import Pacing
from services.runtime.http.tokens import TokenSource

__all__ = ["Exchange", "Pacing"]

TOKEN_HEADER = "X-App-Token"  # noqa: S105 - a header's name
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Most bytes of one answer, unpacked: 50,000 rows of five times the usual size."""


class Exchange(exchange.Exchange):
    """Asks a source's dataset."""

    def __init__(
        self, http: aiohttp.ClientSession, source: SocrataSource, budget: RateBudget, token: TokenSource, pacing: Pacing
    ) -> None:
        endpoint = exchange.Endpoint(
            address=f"{source.domain}/resource/{source.dataset}.json",
            budget=source.domain,
            requests_per_second=source.requests_per_second,
            token_header=TOKEN_HEADER,
            max_bytes=MAX_ANSWER_BYTES,
            size_setting="batch_size",
            label={"dataset": source.dataset or ""},
        )
        super().__init__(http, endpoint, budget, token, pacing)
