"""The control plane under ``/_control``: records in, keys, behaviour and trouble; what was asked."""

from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from shop_faults import Behaviour, Rule
from shop_pages import SERVICE, Service
from shop_store import Entity, StoreError

M = TypeVar("M", bound=BaseModel)


class Faulty(BaseModel):
    """Fault rules, in order; they replace those before."""

    model_config = ConfigDict(extra="forbid")

    rules: list[Rule]


class Keys(BaseModel):
    """The keys that are accepted."""

    model_config = ConfigDict(extra="forbid")

    keys: list[str] = Field(min_length=1)


async def post_records(request: web.Request) -> web.Response:
    """Add records, or change those whose keys are there; PUT replaces all of them."""
    _entity(request)
    name, store = request.match_info["entity"], request.app[SERVICE].store
    try:
        taken = store.change(name, await request.text(), replace=request.method == "PUT")
    except StoreError as error:
        raise _bad(str(error)) from error
    return web.json_response({"entity": name, "taken": taken, "records": len(store.entities[name])})


async def get_records(request: web.Request) -> web.Response:
    """Every record, as it was put."""
    texts = [text for _, text in _entity(request).texts(after=None, since=None, exclusive=False)]
    return web.Response(text="[" + ",\n".join(texts) + "]", content_type="application/json")


async def post_keys(request: web.Request) -> web.Response:
    """Set which keys are accepted."""
    keys = (await _model(request, Keys)).keys
    request.app[SERVICE].keys = keys
    return web.json_response({"keys": len(keys)})


async def post_behaviour(request: web.Request) -> web.Response:
    """Set what kind of an API it is; what is not said is as usual."""
    request.app[SERVICE].behaviour = await _model(request, Behaviour)
    return web.json_response(request.app[SERVICE].behaviour.model_dump())


async def post_faults(request: web.Request) -> web.Response:
    """Replace the fault rules."""
    request.app[SERVICE].rules = (await _model(request, Faulty)).rules
    return await get_faults(request)


async def get_faults(request: web.Request) -> web.Response:
    """The rules, each with how many requests it has struck."""
    rules = request.app[SERVICE].rules
    return web.json_response({"rules": [{**r.model_dump(exclude_defaults=True), "fired": r.fired} for r in rules]})


async def get_stats(request: web.Request) -> web.Response:
    """What is there and what was answered."""
    service = request.app[SERVICE]
    return web.json_response(
        {
            "records": {name: len(entity) for name, entity in service.store.entities.items()},
            "requests": sum(service.statuses.values()),
            "statuses": {str(status): count for status, count in sorted(service.statuses.items())},
        }
    )


async def get_log(request: web.Request) -> web.Response:
    """The requests as received; keys are not in it."""
    return web.json_response({"requests": list(request.app[SERVICE].log)})


async def clear_log(request: web.Request) -> web.Response:
    """Forget what was asked."""
    service: Service = request.app[SERVICE]
    service.log.clear()
    service.statuses.clear()
    return web.json_response({})


def control_routes() -> list[web.RouteDef]:
    """Every route of the control plane."""
    records = "/_control/records/{entity}"
    return [
        web.post(records, post_records),
        web.put(records, post_records),
        web.get(records, get_records),
        web.post("/_control/keys", post_keys),
        web.post("/_control/behaviour", post_behaviour),
        web.post("/_control/faults", post_faults),
        web.get("/_control/faults", get_faults),
        web.get("/_control/stats", get_stats),
        web.get("/_control/log", get_log),
        web.delete("/_control/log", clear_log),
    ]


def _entity(request: web.Request) -> Entity:
    """The entity that a path names, or 404."""
    found: dict[str, Entity] = request.app[SERVICE].store.entities
    name = request.match_info["entity"]
    if name not in found:
        raise web.HTTPNotFound(text=f'{{"message": "there is no {name}"}}', content_type="application/json")
    return found[name]


async def _model(request: web.Request, model: type[M]) -> M:
    """The body of a request, or 400 that names the first thing that is wrong."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first: dict[str, Any] = dict(error.errors(include_url=False)[0])
        raise _bad(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _bad(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=reason, content_type="text/plain")
