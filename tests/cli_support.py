"""``tidegate`` inside the test's own process: as fast as a function call, with its real exit codes and streams."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest

from services.console.cli import main


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read."""
        return json.loads(self.out)


def tidegate(*arguments: object) -> Ended:
    """Run one command to its end. Not from a coroutine: a command has an event loop of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["tidegate", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
    return Ended(int(caught.value.code or 0), out.getvalue(), err.getvalue())


def done(*arguments: object) -> Ended:
    """Run one command that must succeed."""
    ended = tidegate(*arguments)
    assert ended.code == 0, (arguments, ended.err)
    return ended
