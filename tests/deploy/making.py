"""Making the stack: packages, samples, ``terraform apply``; and how long each took."""

import asyncio
import time

import pytest

from infra.packages.declared import PackagingError
from services.console.output import note
from tests.deploy.cloud import Deployed, Sources, working_on


def make(stack: Deployed, sources: Sources) -> None:
    """Make everything; the test is skipped where no package index is reached, or Terraform has no provider.

    Raises:
        PackagingError: the packages cannot be built.
        AssertionError: the stack cannot be made.
    """
    took = Watch()
    try:
        stack.copy_project()
    except PackagingError as error:
        if str(error).startswith("not fetched"):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    took.say("packages")
    if reason := stack.init():
        pytest.skip(reason)
    with working_on(stack):
        asyncio.run(sources.start())
    took.say("samples")
    applied = stack.terraform("apply", "-no-color", "-auto-approve", "-parallelism=20")
    assert applied.returncode == 0, applied.stderr
    took.say("apply")


class Watch:
    """Says how long a step took."""

    def __init__(self) -> None:
        self._before = time.monotonic()

    def say(self, what: str) -> None:
        """A step has ended."""
        now = time.monotonic()
        note(f"{what}: {now - self._before:.1f} s")
        self._before = now
