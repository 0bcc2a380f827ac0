"""Fixtures that several folders of this suite share."""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import pytest


@pytest.fixture(scope="session")
def snowflake_server() -> Iterator[Mapping[str, Any]]:
    """The one fake server of a process (it can be started once); databases come into being when first named."""
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("snowflake.connector.converter") is None:
        pytest.skip("fakesnow's server needs fakesnow[server] and snowflake-connector-python 4")
    import fakesnow  # noqa: PLC0415 - its import fails without them

    with fakesnow.server() as arguments:
        yield arguments
