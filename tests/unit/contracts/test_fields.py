"""Types of an entity's fields."""

import pytest
from pydantic import ValidationError

from contracts.fields import EntityField, TypeParts


@pytest.mark.parametrize(
    ("type_", "parts"),
    [
        ("int16", TypeParts("int16")),
        ("timestamp_us_utc", TypeParts("timestamp_us_utc")),
        ("decimal(38,0)", TypeParts("decimal", 38, 0)),
        ("decimal(12,2)", TypeParts("decimal", 12, 2)),
        ("list<date>", TypeParts("list", item="date")),
        ("list<decimal(5,1)>", TypeParts("list", item="decimal(5,1)")),
    ],
)
def test_types_are_taken_apart(type_: str, parts: TypeParts) -> None:
    """Name and parameters."""
    assert TypeParts.of(EntityField(name="x", type=type_).type) == parts


@pytest.mark.parametrize(
    "type_", ["", "money", "decimal(39,0)", "decimal(0,0)", "list<list<int32>>", "int16 ", "list<>"]
)
def test_what_is_no_type_is_refused(type_: str) -> None:
    """Nested lists among them."""
    with pytest.raises(ValidationError):
        EntityField(name="x", type=type_)
