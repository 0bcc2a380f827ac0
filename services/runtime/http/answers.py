"""Answers as they come, and what may be said of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import SecretStr

MESSAGE_CHARS = 500
"""Most characters of a source's own words in an error's text."""
HIDDEN = "**********"
"""Stands where a token stood."""


class BrokenAnswerError(Exception):
    """The body is not what every answer is: it was cut, or somebody else answered. Asking again may help."""

    def __str__(self) -> str:
        return super().__str__() or "the answer is not a whole array of rows"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt; without a status nothing came back."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    trouble: str = ""
    """Why there is no status, or why the body is of no use."""

    @property
    def is_worth_another(self) -> bool:
        """Whether the same question may be answered later; 202 says that the source is still working on it."""
        return (
            bool(self.trouble)
            or self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.ACCEPTED}
            or (self.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
        )

    @property
    def is_refused(self) -> bool:
        """Whether it is about who asks."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

    @property
    def is_broken(self) -> bool:
        """Whether an answer came that is of no use."""
        return self.status == HTTPStatus.OK and bool(self.trouble)

    def words(self, tokens: Sequence[SecretStr]) -> str:
        """What happened, in one line and without the tokens, which a source may repeat in its answer."""

        def hide(text: str) -> str:
            for token in tokens:
                text = text.replace(token.get_secret_value(), HIDDEN)
            return text

        place = hide(self.headers.get("Location", ""))
        if self.status is None:
            return hide(self.trouble)
        if self.status == HTTPStatus.OK:
            return f"{hide(self.trouble)}: {message_of(self.body, hide)}"
        return f"{self.status} to {place}" if place else f"{self.status}: {message_of(self.body, hide)}"


def message_of(body: bytes, hide: Callable[[str], str] = str) -> str:
    """What a source says where it gives no rows, in one line: its message, or else how its answer begins.

    ``hide`` sees every text before it is shortened, or half a token would be left.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body, hide)
    message = document.get("message") if isinstance(document, dict) else None
    return _one_line(hide(message)) if isinstance(message, str) and message.strip() else _excerpt(body, hide)


def _excerpt(body: bytes, hide: Callable[[str], str]) -> str:
    text = _one_line(hide(body.decode(errors="replace"))[: 4 * MESSAGE_CHARS])
    return f"{len(body)} bytes: {text}" if text else "an empty body"


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + "…"
