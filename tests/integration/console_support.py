"""A stack with its three workers, for tests that only use ``tidegate``."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from services.console.local.emulator import Emulator
from services.console.session import Session, open_session
from tests.e2e.fleet import Fleet
from tests.emulator_support import Stack, new_stack, provision_now

T = TypeVar("T")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@contextmanager
def working_stack(emulator: Emulator, folder: Path, **settings: str) -> Iterator[Stack]:
    """A provisioned stack that the environment points at, with a worker of each service."""
    stack = new_stack(emulator)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environ, **settings}.items():
            patch.setenv(name, value)
        provision_now(stack)
        fleet = Fleet(stack, folder)
        fleet.settings |= settings
        try:
            for service in ("planner", "validator", "merger"):
                fleet.start(service)
            yield stack
        finally:
            fleet.kill_all()
            sys.stdout.write(fleet.story())  # shown when a test failed
        assert not fleet.defects()


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A visit event; each number is a minute later than the one before."""
    return {
        "action": "submit",
        "study": "adrc",
        "pipeline_adcid": 42,
        "project_label": "ingest-form",
        "center_label": "alpha",
        "gear_name": "form-gear",
        "ptid": f"P{number:03d}",
        "visit_date": "2025-12-31",
        "visit_number": "01",
        "datatype": "form",
        "module": "UDS",
        "packet": "I",
        "timestamp": (NOON + timedelta(minutes=number)).isoformat(),
        **changes,
    }


def name_of(number: int) -> str:
    """A file name that the pipeline accepts."""
    return f"log-submit-20260101-120000-42-ingest-form-P{number:03d}-01.json"


def in_session(work: Callable[[Session], Awaitable[T]]) -> T:
    """Do something with the stack's ports, from a test that is no coroutine."""

    async def run() -> T:
        async with open_session() as session:
            return await work(session)

    return asyncio.run(run())


def put_events(bucket: str, prefix: str, events: list[dict[str, Any]]) -> None:
    """Put one file per event into a bucket of the test's own, which announces nothing."""

    async def put(session: Session) -> None:
        await session.clients.s3.create_bucket(Bucket=bucket)
        for number, document in enumerate(events):
            await session.objects.put(bucket, prefix + name_of(number), json.dumps(document).encode())

    in_session(put)
