"""Refusals as a SODA 2 service words them."""

from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import ValidationError


class SodaError(Exception):
    """A request that is answered with an error document instead of rows."""

    def __init__(self, status: int, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.data = data
        self.retry_after: str | None = None
        """Value of the header of this name."""
        self.page: str | None = None
        """HTML that takes the place of the document, as from a proxy before the service."""

    def response(self) -> web.Response:
        """The answer."""
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        if self.page is not None:
            return web.Response(status=self.status, text=self.page, headers=headers, content_type="text/html")
        document = {"code": self.code, "error": True, "message": str(self), "data": self.data}
        return web.json_response(document, status=self.status, headers=headers)


def bad_query(code: str, message: str, **data: Any) -> SodaError:
    """A query that cannot be answered; ``code`` is the part after ``query.soql.``."""
    return SodaError(HTTPStatus.BAD_REQUEST, f"query.soql.{code}", message, **data)


def bad_request(message: str) -> SodaError:
    """A request with a wrong shape."""
    return SodaError(HTTPStatus.BAD_REQUEST, "invalid_request", message)


def bad_document(error: ValidationError, *where: str) -> SodaError:
    """A document with a wrong value; the text names the first one and its place (in ``where``)."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, (*where, *first["loc"])))
    return bad_request(f"{place}: {first['msg']}" if place else str(first["msg"]))


def not_found(dataset: str) -> SodaError:
    """There is no such dataset."""
    return SodaError(HTTPStatus.NOT_FOUND, "dataset.missing", f"There is no dataset {dataset}", dataset=dataset)


def forbidden() -> SodaError:
    """The token is not one that was given out."""
    return SodaError(HTTPStatus.FORBIDDEN, "permission_denied", "Invalid app_token specified")


def throttled(wait_s: int) -> SodaError:
    """Too many requests with one token, or with none; the next one may come after whole seconds."""
    error = SodaError(HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", "Too many requests for this token")
    error.retry_after = str(wait_s)
    return error
