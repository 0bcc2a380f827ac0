"""What clients see: ``GET /payments`` and ``GET /shipments``."""

import asyncio
import base64
import hmac
import json
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web
from shop_faults import Behaviour, Rule, strike
from shop_store import Entity, Place, Store, moment

KEY_HEADER = "x-api-key"
USUAL_PAGE = 100
KEPT = 20_000
"""Requests that the log remembers."""
MS_PER_S = 1_000


class Service:
    """The state that all requests share."""

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.keys = [key]
        self.behaviour = Behaviour()
        self.rules: Sequence[Rule] = ()
        self.log: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.statuses: Counter[int] = Counter()


SERVICE = web.AppKey("service", Service)


class BadRequestError(Exception):
    """A parameter cannot be read."""


async def answer(request: web.Request) -> web.StreamResponse:
    """A page of records, or whatever a rule makes of it."""
    service, entity = request.app[SERVICE], request.match_info["entity"]
    rule = strike(service.rules, entity, unquote_plus(request.query_string))
    await asyncio.sleep((service.behaviour.latency_ms + rule.delay_ms) / MS_PER_S)
    key = request.headers.get(KEY_HEADER, "")
    entry: dict[str, Any] = {"entity": entity, "params": dict(request.query), "status": 0, "records": 0}
    service.log.append(entry)
    if rule.status is not None:
        response = _faulty(rule, rule.status, key)
    elif not any(hmac.compare_digest(key.encode(), known.encode()) for known in service.keys):
        response = _refusal(401, "Unauthorized")
    elif entity not in service.store.entities:
        response = _refusal(404, f"There is no {entity}")
    else:
        response = _page(service, entity, request, entry)
    entry["status"] = response.status
    service.statuses[response.status] += 1
    return response if rule.cut_after is None else await _cut(request, response, rule.cut_after, rule)


def _page(service: Service, entity: str, request: web.Request, entry: dict[str, Any]) -> web.Response:
    behaviour = service.behaviour
    if behaviour.since == "refused" and "since" in request.query:
        return _refusal(behaviour.refusal, "Unknown parameter: since")
    try:
        size = min(_number(request, "limit", USUAL_PAGE), behaviour.cap)
        found = _wanted(service.store.entities[entity], request, behaviour)
        start = (_number(request, "page", 1) - 1) * size
    except BadRequestError as error:
        return _refusal(400, str(error))
    page = found[start : start + size]
    entry["records"] = len(page)
    following = _written(page[-1][0]) if page and len(found) > start + size else None
    return web.Response(
        text=_document([text for _, text in page], following, behaviour), content_type="application/json"
    )


def _wanted(entity: Entity, request: web.Request, behaviour: Behaviour) -> list[tuple[Place, str]]:
    since: str | None = None
    if "since" in request.query and behaviour.since != "ignored":
        since = moment(request.query["since"])
        if since is None:
            raise BadRequestError("since is not a timestamp")
    after = _read(request.query["cursor"]) if "cursor" in request.query else None
    return entity.texts(after=after, since=since, exclusive=behaviour.since == "exclusive")


def _document(records: list[str], following: str | None, behaviour: Behaviour) -> str:
    array = "[" + ",\n".join(records) + "]"
    if behaviour.layout == "pretty":
        array = "[\n  " + ",\n  ".join(text.replace("{", "{\n    ", 1) for text in records) + "\n]"
    return array if behaviour.array else f'{{"data": {array}, "next_cursor": {json.dumps(following)}}}'


def _number(request: web.Request, name: str, usual: int) -> int:
    text = request.query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise BadRequestError(f"{name} is not a positive number")
    return int(text)


def _written(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read(text: str) -> Place:
    try:
        changed, key = json.loads(base64.urlsafe_b64decode(text))
    except ValueError as error:
        raise BadRequestError("cursor is not one of ours") from error
    return str(changed), str(key)


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"message": message}, status=status, headers=headers)


def _faulty(rule: Rule, status: int, key: str) -> web.Response:
    given = {"Retry-After": rule.retry_after, "Location": rule.location}
    headers = {name: value for name, value in given.items() if value is not None}
    if rule.body is not None:
        return web.Response(status=status, text=rule.body, headers=headers)
    return _refusal(status, f"{rule.message} {key}" if rule.repeats_key else rule.message, **headers)


async def _cut(request: web.Request, whole: web.Response, after: int, rule: Rule) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
    if rule.says_length:
        response.content_length = len(body)
    else:
        response.force_close()
    await response.prepare(request)
    await response.write(body[:after])
    if request.transport is not None:
        request.transport.close()
    return response
