"""What a check says: one line, with what to do about it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from services.runtime.failures import AccessDeniedError, MissingObjectError, TidegateError

T = TypeVar("T")


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


class Verdict(NamedTuple):
    """What one look led to."""

    state: State
    found: str = ""
    """What is so, for people."""
    todo: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: State
    found: str = ""
    todo: str = ""

    @property
    def advice(self) -> str:
        """What was found and what to do, as one text."""
        return ": ".join(part for part in (self.found, self.todo) if part)


OK = Verdict(State.OK)


def failed(found: str, todo: str = "") -> Verdict:
    """Something that loses rows, doubles work or stops it."""
    return Verdict(State.FAILED, found, todo)


def warned(found: str, todo: str = "") -> Verdict:
    """Something a person should look at; the platform works."""
    return Verdict(State.WARNING, found, todo)


def unchecked(why: str, todo: str = "") -> Verdict:
    """Something that could not be looked at, which is not the same as being right."""
    return Verdict(State.NOT_CHECKED, why, todo)


def line(check: str, verdict: Verdict) -> Finding:
    """The line of a verdict."""
    return Finding(check, *verdict)


def require(holds: bool, found: str, todo: str) -> Verdict:
    """A verdict that is a failure unless something holds."""
    return OK if holds else failed(found, todo)


DEPLOY = "deploy it: docs/runbooks/deploy.md, or `tidegate local up` for the embedded stack"


def refusal(error: TidegateError) -> Verdict:
    """What an answer that is none says of the thing that was asked for."""
    if isinstance(error, MissingObjectError):
        return failed(str(error), DEPLOY)
    if isinstance(error, AccessDeniedError):
        return unchecked(str(error), "allow your role to read it")
    return unchecked(str(error))


async def aspects(
    resource: str, ask: Awaitable[T], judges: Mapping[str, Callable[[T], Verdict]]
) -> tuple[T | None, list[Finding]]:
    """A line for a resource and one for each thing about it; what cannot be read is not judged.

    The answer is None where there was none.
    """
    try:
        answer = await ask
    except TidegateError as error:
        verdict = refusal(error)
        absent = "it is not there" if verdict.state is State.FAILED else "its resource could not be read"
        rest = [line(f"{resource}: {name}", unchecked(absent)) for name in judges]
        return None, [line(resource, verdict), *rest]
    return answer, [line(resource, OK), *(line(f"{resource}: {name}", judge(answer)) for name, judge in judges.items())]


async def looked(check: str, judge: Awaitable[Verdict]) -> Finding:
    """The line of one look by itself."""
    try:
        return line(check, await judge)
    except TidegateError as error:
        return line(check, refusal(error))
