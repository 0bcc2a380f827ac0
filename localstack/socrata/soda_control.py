"""The control plane under ``/_control``: data in, faults, time and limits; what was asked and what it took."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from soda_data import Data, create_dataset
from soda_errors import SodaError, bad_document, not_found
from soda_faults import Limit, Rule, Throttle
from soda_resource import SERVICE, Service
from soda_store import Dataset, Published

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Faulty(BaseModel):
    """Fault rules, in order; they replace those before."""

    model_config = ConfigDict(extra="forbid")

    rules: list[Rule]


class Latency(BaseModel):
    """Milliseconds before every answer."""

    model_config = ConfigDict(extra="forbid")

    ms: float = Field(ge=0)


class Clock(BaseModel):
    """A floating timestamp, "system" for New York's time, or null: every row is visible."""

    model_config = ConfigDict(extra="forbid")

    now: str | None


class Tokens(BaseModel):
    """The tokens that exist; null accepts any."""

    model_config = ConfigDict(extra="forbid")

    tokens: list[str] | None


async def put_dataset(request: web.Request) -> web.Response:
    """Create a dataset, or replace the one of this name as a whole."""
    service, name = request.app[SERVICE], request.match_info["dataset"]
    data = await _model(request, Data)
    dataset = await _aside(service, lambda: create_dataset(name, data))
    service.store.put(dataset)
    return web.json_response(dataset.summary())


async def get_dataset(request: web.Request) -> web.Response:
    """What a dataset is made of."""
    return web.json_response(_dataset(request).summary())


async def post_rows(request: web.Request) -> web.Response:
    """Publish rows: new ones, late ones, and changed ones that replace their earlier versions."""
    dataset = _dataset(request)
    data = await _model(request, Data)

    def publish() -> Published:
        _, rows = data.load()
        return dataset.publish(rows)

    done = await _aside(request.app[SERVICE], publish)
    return web.json_response({**dataset.summary(), "added": done.added, "replaced": done.replaced})


async def delete_dataset(request: web.Request) -> web.Response:
    """Remove a dataset; clients get 404 from now on."""
    name = request.match_info["dataset"]
    if not request.app[SERVICE].store.remove(name):
        raise not_found(name)
    return web.json_response({"id": name})


async def post_faults(request: web.Request) -> web.Response:
    """Replace the fault rules."""
    request.app[SERVICE].faults.rules = (await _model(request, Faulty)).rules
    return await get_faults(request)


async def delete_faults(request: web.Request) -> web.Response:
    """Let nothing go wrong any more."""
    request.app[SERVICE].faults.rules = ()
    return await get_faults(request)


async def get_faults(request: web.Request) -> web.Response:
    """The rules, each with how many requests it has struck."""
    rules = request.app[SERVICE].faults.rules
    return web.json_response({"rules": [{**r.model_dump(exclude_defaults=True), "fired": r.fired} for r in rules]})


async def post_latency(request: web.Request) -> web.Response:
    """Set the latency of every answer."""
    latency = await _model(request, Latency)
    request.app[SERVICE].latency_s = latency.ms / 1_000
    return web.json_response({"ms": latency.ms})


async def post_throttle(request: web.Request) -> web.Response:
    """Set the rate of requests; every account starts with a full burst."""
    limit = await _model(request, Limit)
    request.app[SERVICE].throttle = Throttle(limit)
    return web.json_response(limit.model_dump())


async def post_clock(request: web.Request) -> web.Response:
    """Set the time of publication."""
    now = (await _model(request, Clock)).now
    request.app[SERVICE].set_clock(now)
    return web.json_response({"now": now})


async def post_tokens(request: web.Request) -> web.Response:
    """Set which tokens exist."""
    tokens = (await _model(request, Tokens)).tokens
    request.app[SERVICE].tokens = None if tokens is None else frozenset(tokens)
    return web.json_response({"tokens": tokens})


async def get_stats(request: web.Request) -> web.Response:
    """What answering took so far."""
    return web.json_response(request.app[SERVICE].journal.stats())


async def get_log(request: web.Request) -> web.Response:
    """The requests as received."""
    return web.json_response({"requests": request.app[SERVICE].journal.log()})


async def clear_journal(request: web.Request) -> web.Response:
    """Forget log and sums."""
    request.app[SERVICE].journal.clear()
    return web.json_response({})


@web.middleware
async def errors_as_json(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Refusals of control requests, in the same form as those of the service."""
    try:
        response: web.StreamResponse = await handler(request)
    except SodaError as error:
        return error.response()
    return response


def control_routes() -> list[web.RouteDef]:
    """Every route of the control plane."""
    dataset = "/_control/datasets/{dataset}"
    return [
        web.put(dataset, put_dataset),
        web.get(dataset, get_dataset),
        web.delete(dataset, delete_dataset),
        web.post(f"{dataset}/rows", post_rows),
        web.post("/_control/faults", post_faults),
        web.get("/_control/faults", get_faults),
        web.delete("/_control/faults", delete_faults),
        web.post("/_control/latency", post_latency),
        web.post("/_control/throttle", post_throttle),
        web.post("/_control/clock", post_clock),
        web.post("/_control/tokens", post_tokens),
        web.get("/_control/stats", get_stats),
        web.delete("/_control/stats", clear_journal),
        web.get("/_control/log", get_log),
        web.delete("/_control/log", clear_journal),
    ]


def _dataset(request: web.Request) -> Dataset:
    name = request.match_info["dataset"]
    dataset = request.app[SERVICE].store.get(name)
    if dataset is None:
        raise not_found(name)
    return dataset


async def _aside(service: Service, work: Callable[[], T]) -> T:
    """Run what takes long outside of the event loop."""
    return await asyncio.get_running_loop().run_in_executor(service.executor, work)


async def _model(request: web.Request, model: type[M]) -> M:
    """The body of a request.

    Raises:
        SodaError: 400, naming the first thing that is wrong.
    """
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise bad_document(error) from error
