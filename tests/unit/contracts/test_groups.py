"""Declarations of groups: what entities share, what each adds, and what is said of mistakes."""

from typing import Any

import pytest

from contracts.groups import Group
from contracts.pipelines import InvalidPipelineError
from contracts.sources import PostgresSource, RestSource

DOCUMENT: dict[str, Any] = {
    "name": "shop",
    "sources": {
        "rds": {"kind": "postgres", "secret": "db", "cursor": "updated_at"},
        "api": {"kind": "rest", "url": "http://api", "cursor": "updated_at"},
    },
    "target": {"kind": "bronze"},
    "entities": {
        "orders": {"source": "rds", "key": ["order_id"], "table": "Orders"},
        "items": {"source": "rds", "key": ["order_id", "line"], "description": "what was ordered"},
        "payments": {
            "source": "api",
            "path": "/payments",
            "key": ["id"],
            "fields": {"id": "string", "updated_at": "timestamp_us_utc", "amount": "decimal(12,2)"},
        },
    },
}


def group(**changed: Any) -> Group:
    """The group, with some of it changed."""
    return Group.parse(DOCUMENT | changed, where="shop.toml")


def entity(name: str, **changed: Any) -> dict[str, Any]:
    """The entities, one of them changed."""
    entities = DOCUMENT["entities"]
    return {"entities": entities | {name: entities[name] | changed}}


def test_each_entity_becomes_a_pipeline_of_its_own() -> None:
    """Its name, its watermark and its source are its own; what the source's table says is shared."""
    orders, items, payments = group().pipelines(where="shop.toml")
    assert [p.name for p in (orders, items, payments)] == ["shop.orders", "shop.items", "shop.payments"]
    assert {p.group for p in (orders, items, payments)} == {"shop"}
    assert all(p.is_landed and p.is_fetched and not p.is_collected for p in (orders, items, payments))
    assert orders.watermark == "shop.orders#orders"
    assert isinstance(orders.source, PostgresSource)
    assert (orders.source.table, orders.source.system, orders.source.secret) == ("Orders", "rds", "db")
    assert isinstance(items.source, PostgresSource)
    assert (items.source.table, items.description) == ("items", "what was ordered")
    assert isinstance(payments.source, RestSource)
    assert payments.source.url == "http://api"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"name": "Shop"}, r"^shop\.toml: name: "),
        ({"sources": {}}, r"^shop\.toml: sources: "),
        (entity("orders", source="mysql"), r"entities\.orders\.source: 'mysql' is none of \['api', 'rds'\]"),
    ],
)
def test_a_group_that_is_wrong_is_refused(changed: dict[str, Any], text: str) -> None:
    """In one line, with the place."""
    with pytest.raises(InvalidPipelineError, match=text):
        group(**changed)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (entity("orders", key=[]), r"^shop\.toml: entities\.orders: source\.key: "),
        (entity("orders", key=["a", "a"]), r"entities\.orders: source: .*key names a column twice"),
        (entity("orders", lag="1"), r"entities\.orders: source\.lag: Extra inputs are not permitted"),
        (entity("payments", path="payments"), r"entities\.payments: source\.path: "),
        (entity("payments", key=["nr"]), r"entities\.payments: source: .*key: 'nr' is not in fields"),
        (entity("payments", cursor="amount"), r"entities\.payments: source: .*cursor: 'amount' must be a timestamp"),
        (entity("payments", fields={"id": "money"}), r"entities\.payments: source\.fields\.id: "),
        ({"target": {"kind": "checkpoint", "key": "x", "order_by": "y"}}, r"entities\.orders: document: .*'bronze'"),
    ],
)
def test_an_entity_that_is_wrong_is_refused(changed: dict[str, Any], text: str) -> None:
    """In one line, with the entity and the place in it."""
    with pytest.raises(InvalidPipelineError, match=text):
        group(**changed).pipelines(where="shop.toml")
