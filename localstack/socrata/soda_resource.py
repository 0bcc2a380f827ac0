"""``GET /resource/{dataset}.json``: the part of the service that its clients know."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web
from soda_answers import Answer
from soda_errors import SodaError, bad_query, bad_request, forbidden, not_found, throttled
from soda_faults import Faults, Limit, Rule, Throttle
from soda_journal import Entry, Journal
from soda_rows import timestamp
from soda_store import Dataset, Store
from soql_parser import parse_condition, parse_group, parse_order, parse_select
from soql_tree import Column, Comparison, Logic, Node, Query, Text

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 50_000
LOCAL_TIME = "America/New_York"
"""What floating timestamps mean when the clock is the system's."""

_CLAUSES = frozenset({"$select", "$where", "$group", "$having", "$order", "$limit", "$offset"})


@dataclass
class Service:
    """The state of the server."""

    executor: Executor
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    journal: Journal = field(default_factory=Journal)
    throttle: Throttle = field(default_factory=lambda: Throttle(Limit()))
    latency_s: float = 0.0
    tokens: frozenset[str] | None = None
    """Tokens that exist; None accepts any. A request without one is always accepted."""
    now: Callable[[], datetime | None] = lambda: None
    """The floating timestamp it is, for the publication of rows; None: every row is visible."""

    def set_clock(self, now: str | None) -> None:
        """Stop the clock at a floating timestamp, let it go with New York's time ("system"), or show every row (None).

        Raises:
            SodaError: 400, it is none of them, or this machine does not know New York's time.
        """
        if now == "system":
            try:
                zone = ZoneInfo(LOCAL_TIME)
            except ZoneInfoNotFoundError as error:
                raise bad_request(f"now: this machine has no time zone database: {error}") from error
            self.now = lambda: datetime.now(zone).replace(tzinfo=None)
        else:
            moment = timestamp(now, "now")
            self.now = lambda: moment


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


def query_of(params: Mapping[str, Any]) -> Query:
    """The query that a request's parameters ask.

    Raises:
        SodaError: 400, a clause cannot be parsed, is not known or comes twice.
    """
    unknown = sorted(name for name in params if name.startswith("$") and name[:2] != "$$" and name not in _CLAUSES)
    if unknown:
        raise bad_request(f"Unrecognized arguments [{', '.join(unknown)}]")
    repeated = sorted(name for name in params if isinstance(params[name], list))
    if repeated:
        raise bad_request(f"Arguments given more than once [{', '.join(repeated)}]")
    filters: list[Node] = [
        Comparison("=", Column(name.lower()), Text(value)) for name, value in params.items() if name[:1] != "$"
    ]
    where = [*([parse_condition(params["$where"])] if params.get("$where") else []), *filters]
    query = Query(
        where=where[0] if len(where) == 1 else Logic("and", tuple(where)) if where else None,
        group=parse_group(params["$group"]) if params.get("$group") else (),
        having=parse_condition(params["$having"]) if params.get("$having") else None,
        order=parse_order(params["$order"]) if params.get("$order") else (),
        limit=_whole_number(params, "$limit", DEFAULT_LIMIT),
        offset=_whole_number(params, "$offset", 0),
        **({"select": parse_select(params["$select"])} if params.get("$select") else {}),
    )
    if query.limit > MAX_LIMIT:
        raise bad_query("invalid-limit", f"$limit must be at most {MAX_LIMIT}, not {query.limit}")
    return query


def _whole_number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise bad_query(f"invalid-{name[1:]}", f"{name} must be a whole number, not {text!r}")
    return int(text)


async def resource(request: web.Request) -> web.StreamResponse:
    """Answer with rows, or with an error document."""
    service = request.app[SERVICE]
    params = {name: values[0] if len(values := request.query.getall(name)) == 1 else values for name in request.query}
    token = request.headers.get("X-App-Token") or request.query.get("$$app_token")
    place = None if token is None else "header" if request.headers.get("X-App-Token") else "query"
    entry = service.journal.begin(request.match_info["dataset"], params, token, place)
    try:
        return await _answered(request, service, entry)
    except SodaError as error:
        entry.status = error.status
        return error.response()
    finally:
        service.journal.end(entry)


async def _answered(request: web.Request, service: Service, entry: Entry) -> web.StreamResponse:
    await asyncio.sleep(service.latency_s)
    wait_s = service.throttle.wait_s(entry.token, time.monotonic())
    if wait_s:
        raise throttled(wait_s)
    entry.fault, rule = service.faults.strike(entry.dataset, request.query_string, entry.token)
    await asyncio.sleep(rule.delay_ms / 1_000)
    error = rule.error()
    if error is not None:
        raise error
    if entry.token is not None and service.tokens is not None and entry.token not in service.tokens:
        raise forbidden()
    dataset = service.store.get(entry.dataset)
    if dataset is None:
        raise not_found(entry.dataset)
    loop = asyncio.get_running_loop()
    found, body = await loop.run_in_executor(service.executor, _work, dataset, entry, service.now(), rule)
    entry.status, entry.rows, entry.bytes = HTTPStatus.OK, len(found.rows), len(body)
    headers = {
        "X-SODA2-Fields": json.dumps([f.name for f in found.fields], separators=(",", ":")),
        "X-SODA2-Types": json.dumps([f.type for f in found.fields], separators=(",", ":")),
    }
    if rule.cut_after is not None:
        return await _cut(request, headers, body, rule.cut_after)
    return web.Response(body=body, headers=headers, content_type="application/json", charset="utf-8")


def _work(dataset: Dataset, entry: Entry, now: datetime | None, rule: Rule) -> tuple[Answer, bytes]:
    started = time.perf_counter()
    try:
        query = query_of(entry.params)
        if rule.cap is not None and rule.cap < query.limit:
            query = replace(query, limit=rule.cap)
        found = dataset.query(query, now)
        return found, found.body(one_line=rule.one_line)
    finally:
        entry.busy_s = time.perf_counter() - started


async def _cut(request: web.Request, headers: Mapping[str, str], body: bytes, after: int) -> web.StreamResponse:
    """Promise the whole body and close the connection after a part of it."""
    response = web.StreamResponse(headers={**headers, "Content-Type": "application/json; charset=utf-8"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[:after])
    if request.transport is not None:
        request.transport.close()
    return response
