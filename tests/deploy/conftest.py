"""The deployed stack, made once for all tests of this folder, and what a test asks it with."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aioboto3
import pytest
from botocore.config import Config

from services.console.local.state import DataDir
from services.console.session import Session, open_session
from tests.deploy.asking import Asking
from tests.deploy.cloud import Deployed, Sources, enforcing_emulator, working_on
from tests.deploy.making import make


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """All that Terraform makes, on an emulator of its own that enforces policies; the samples run beside it."""
    folder = tmp_path_factory.mktemp("deployed")
    home = DataDir(folder / "samples")
    home.prepare()
    sources = Sources(home)
    with enforcing_emulator(folder) as emulator:
        stack = Deployed(emulator.endpoint, folder / "project", sources.variables)
        try:
            make(stack, sources)
            yield stack
        finally:
            sources.stop()


@pytest.fixture(autouse=True)
def _pointed(deployed: Deployed) -> Iterator[None]:
    with working_on(deployed):
        yield


@pytest.fixture
async def session(_pointed: None) -> AsyncIterator[Session]:
    """The operator's session on the stack."""
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def asking(deployed: Deployed, session: Session) -> AsyncIterator[Asking]:
    """Services that the operator's session does not have."""
    sdk: Any = aioboto3.Session()
    config = Config(read_timeout=300, retries={"total_max_attempts": 1})  # an invocation is never sent twice
    async with (
        sdk.client("iam") as iam,
        sdk.client("lambda", config=config) as functions,
        sdk.client("cloudwatch") as cloudwatch,
        sdk.client("logs") as logs,
    ):
        yield Asking(deployed, session, iam, functions, cloudwatch, logs)
