"""Log lines as they leave a process."""

import asyncio
import json
from collections.abc import Iterator

import pytest
import structlog

from services.runtime.telemetry import configure_logging, correlated


@pytest.fixture
def configured() -> Iterator[None]:
    """Leave logging as it was."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("configured")
def test_a_line_names_its_service_and_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object on standard error; also in the later invocations of a container, whose context is new."""

    async def opened_in_the_first_invocation() -> None:
        configure_logging("merger", "INFO")

    asyncio.run(opened_in_the_first_invocation())
    log = structlog.get_logger()
    with correlated(run_id="r1", segment_id=["a", "b"]):
        log.info("committed", version=7)
        log.debug("not wanted at this level")
    written = capsys.readouterr()
    (line,) = (json.loads(text) for text in written.err.splitlines())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "committed",
        "level": "info",
        "service": "merger",
        "run_id": "r1",
        "segment_id": ["a", "b"],
        "version": 7,
    }
    assert written.out == ""
