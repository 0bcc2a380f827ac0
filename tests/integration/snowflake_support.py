"""Declarations of orders in Snowflake, and logins to wherever it is."""

import json
from typing import Any

from contracts.pipelines import Pipeline
from services.planner.adapters.snowflake import SnowflakeEntity
from tests.fakes.secrets import FakeSecrets

SECRET = "shop-snowflake"  # noqa: S105 - its name
PASSWORD = "snow-and-ice"  # noqa: S105 - of a server that takes any


def pipeline(**source: Any) -> Pipeline:
    """The declaration of orders, with some of it changed."""
    declared = {
        "kind": "snowflake", "system": "sf", "secret": SECRET, "table": "ORDERS", "key": ["ORDER_ID", "LINE"],
        "cursor": "UPDATED_AT", "event_date": "ORDERED_ON",
    }  # fmt: skip
    return Pipeline.model_validate(
        {"name": "shop.orders", "entity": "orders", "source": declared | source, "target": {"kind": "bronze"}}
    )


def entity(secrets: FakeSecrets, **source: Any) -> SnowflakeEntity:
    """The planner's view of orders."""
    return SnowflakeEntity.open(secrets, pipeline(**source))


def login(port: int, password: str = PASSWORD) -> str:
    """The secret of an account on this machine."""
    return json.dumps(
        {
            "account": "a", "user": "u", "password": password, "database": "D", "host": "127.0.0.1", "port": port,
            "protocol": "http",
        }
    )  # fmt: skip
