"""What the sample shop holds, read without any of the services' own code: every version of every record."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from services.console.demo.shop import Connection
from services.console.demo.shop_api import CommerceApi

KEYS: Mapping[str, tuple[str, ...]] = {
    "customers": ("customer_id",),
    "products": ("product_id",),
    "orders": ("order_id",),
    "order_items": ("order_id", "line"),
    "payments": ("payment_id",),
    "shipments": ("shipment_id",),
}
API = frozenset({"payments", "shipments"})
CURSOR = "updated_at"
TEXT = "::text"
"""Ends the names under which a row also has each value as its server writes it."""

Row = dict[str, Any]
Version = tuple[Any, ...]
"""Key and moment of a record's change."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions that everybody could see at one moment, by entity; what was overwritten before is in none."""

    found: Mapping[str, Mapping[Version, Row]]

    @classmethod
    async def look(cls, shop: Connection, api: CommerceApi) -> Self:
        """As of now."""
        found = {}
        for entity, key in KEYS.items():
            rows = await api.records(entity) if entity in API else await _rows(shop, entity)
            found[entity] = {version_of(row, key): row for row in rows}
        return cls(found)

    def until(self, entity: str, end: str) -> dict[Version, Row]:
        """Versions of an entity from before ``end`` (UTC, 26 characters), and those without a moment."""
        return {
            version: row
            for version, row in self.found[entity].items()
            if version[-1] is None or cursor(version[-1]) < end
        }


async def _rows(shop: Connection, table: str) -> list[Row]:
    columns = await shop.fetch(
        "SELECT quote_ident(attname) AS name FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
        " AND NOT attisdropped",
        table,
    )
    texts = ", ".join(f'{column["name"]}::text AS "{column["name"]}{TEXT}"' for column in columns)
    return [dict(row) for row in await shop.fetch(f"SELECT *, {texts} FROM {table}")]  # noqa: S608 - quoted


def version_of(row: Mapping[str, Any], key: tuple[str, ...]) -> Version:
    """What tells a version from all others."""
    return (*(row[column] for column in key), moment(row[CURSOR]))


def moment(value: datetime | str | None) -> datetime | None:
    """A time as UTC; one without a zone is UTC already."""
    if value is None:
        return None
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def cursor(value: datetime) -> str:
    """A time as the services' plans write it."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def differences(source: Row, bronze: Row) -> list[str]:
    """Columns whose values are not the same; a column that came later is null in a version from before it."""
    names = {name for name in source if not name.endswith(TEXT)}
    names |= {name for name in bronze if not name.startswith("_") and name not in _FOLDERS}
    return sorted(name for name in names if not _same(source, name, bronze.get(name)))


_FOLDERS = frozenset({"ingestion_date", "load_type", "event_date"})


def _same(source: Row, name: str, value: Any) -> bool:
    """Whether bronze has the source's value, or the text that the source's server writes for it."""
    given = source.get(name)
    if isinstance(value, datetime):
        return moment(given) == moment(value)
    if given == value or str(value) == source.get(name + TEXT):
        return True
    if isinstance(given, float) and isinstance(value, float):
        return given != given and value != value  # noqa: PLR0124 - neither is a number
    if isinstance(given, list) and isinstance(value, list):
        return [str(each) for each in given] == [str(each) for each in value]
    return value is not None and not isinstance(given, bool) and str(given) == str(value)
