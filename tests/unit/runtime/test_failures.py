"""The error tree is drawn once at the top of the module and must stay true."""

import inspect
import re

import pytest

from services.runtime import failures
from services.runtime.failures import TemporaryError, TidegateError

INDENT = 4


def drawn() -> dict[str, str]:
    """Each class of the drawing with its parent."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (failures.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // INDENT
            path[depth:] = [match[2]]
            parents[match[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn under its parent, and nothing is drawn that is not there."""
    classes = [cls for _, cls in inspect.getmembers(failures, inspect.isclass) if cls.__module__ == failures.__name__]
    assert drawn() == {cls.__name__: cls.__bases__[0].__name__ for cls in classes}


@pytest.mark.parametrize("name", sorted(drawn()))
def test_every_failure_says_what_it_means(name: str) -> None:
    """Each class documents itself, is ours, and shows its text as one line."""
    cls = getattr(failures, name)
    assert issubclass(cls, TidegateError)
    assert cls.__doc__
    assert str(cls("s3://bucket/key: gone")) == "s3://bucket/key: gone"


def test_temporary_failures_say_when_to_come_back() -> None:
    """The delay is in seconds and has a default; a lease that is held is such a failure."""
    assert TemporaryError("busy").delay > 0
    assert failures.LeaseHeldError("held", delay=1.5).delay == 1.5
