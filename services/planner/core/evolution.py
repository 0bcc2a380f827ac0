"""How an entity's columns may change from one load to the next: readers of bronze must be able to unite both."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.fields import EntityField, TypeParts
from services.runtime.failures import PermanentError

_INTEGERS = {"int16": 5, "int32": 10, "int64": 19}
"""Decimal digits that hold any value of the type; narrower ones come first."""
_FLOATS = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an entity's columns, by name, in the order of the fields."""

    added: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    incompatible: tuple[tuple[EntityField, EntityField], ...] = ()
    """Columns of a type that cannot hold what they held, as they were and as they are."""

    def require_compatible(self) -> None:
        """Refuse a change that would leave rows of both types in what readers unite.

        Raises:
            PermanentError: naming each column, what it was, what it is, and what to do.
        """
        if self.incompatible:
            told = "; ".join(
                f"column {was.name!r} was {_told(was)} and is {_told(now)}" for was, now in self.incompatible
            )
            raise PermanentError(
                f"{told}: the new type cannot hold every old value;"
                ' a full load begins anew with the columns as they are: {"load_type": "FULL"}'
            )

    @property
    def of_names(self) -> tuple[list[str], list[str], list[str]]:
        """Names that were added, widened and dropped; one whose type changed altogether was dropped and added."""
        changed = [was.name for was, _ in self.incompatible]
        return [*self.added, *changed], list(self.widened), [*self.dropped, *changed]


def change_between(before: Sequence[EntityField], now: Sequence[EntityField]) -> Change:
    """Compare the columns of two loads; their order and what the source calls their types make no difference."""
    old, new = {field.name: field for field in before}, {field.name: field for field in now}
    retyped = [(old[name], field) for name, field in new.items() if name in old and old[name].type != field.type]
    return Change(
        added=tuple(name for name in new if name not in old),
        widened=tuple(field.name for earlier, field in retyped if widens(earlier.type, field.type)),
        dropped=tuple(name for name in old if name not in new),
        incompatible=tuple(pair for pair in retyped if not widens(pair[0].type, pair[1].type)),
    )


def widens(before: str, now: str) -> bool:
    """Whether every value of one field type is a value of the other, with no digit lost."""
    old, new = TypeParts.of(before), TypeParts.of(now)
    if old.item is not None and new.item is not None:
        return old.item == new.item or widens(old.item, new.item)
    if old.name in _INTEGERS:
        order = list(_INTEGERS)
        if new.name in _INTEGERS:
            return order.index(new.name) >= order.index(old.name)
        return new.name == "decimal" and new.precision - new.scale >= _INTEGERS[old.name]
    if old.name in _FLOATS:
        return new.name in _FLOATS and _FLOATS.index(new.name) >= _FLOATS.index(old.name)
    if old.name == "decimal" and new.name == "decimal":
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    return before == now


def _told(field: EntityField) -> str:
    return f"{field.type} ({field.source_type})" if field.source_type else field.type
