"""Queries in SoQL: the parameters of a request for pages, tallies and keys of one source.

Values of rows enter a query as quoted literals only, exactly as the source gave them; names and the declared
condition come from the pipeline's declaration and are checked once.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.fetching import KeyRange
from contracts.sources import SocrataSource
from services.runtime.datasets import Position
from services.runtime.failures import BadDeclarationError, PermanentError

GROUPS = 50_000
"""Most groups asked for at once; without a limit of their own, group queries end silently after 1,000."""
VALUE, ROWS = "tally_value", "tally_rows"
"""What tallies are called in answers; unlike ``day`` or ``count``, no column of a dataset."""

Params = dict[str, str]

_NAME = re.compile(r":?@?[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")


def literal(text: str) -> str:
    """Text as a SoQL string.

    Raises:
        PermanentError: the text has half a surrogate pair, which no request can carry.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PermanentError(f"{text!r} is not text that a query can hold") from error
    return "'" + text.replace("'", "''") + "'"


def midnight_after(day: str) -> str | None:
    """The start of the day after a floating timestamp's; None after the last day there is.

    Raises:
        PermanentError: it is not a floating timestamp.
    """
    try:
        start = datetime.fromisoformat(day).replace(hour=0, minute=0, second=0, microsecond=0)
    except ValueError as error:
        raise PermanentError(f"{day!r} is not a day") from error
    try:
        return (start + timedelta(days=1)).isoformat(timespec="milliseconds")
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class Soql:
    """The queries to one source.

    Raises:
        BadDeclarationError: a column's name is none, or the declared condition is not closed in itself.
    """

    source: SocrataSource

    def __post_init__(self) -> None:
        for field, name in (("cursor", self.source.cursor), ("unique_key", self.source.unique_key)):
            if not _NAME.fullmatch(name):
                raise BadDeclarationError(f"{self.source.dataset}: {field} {name!r} is not the name of a column")
        if not _is_closed(self.source.where):
            raise BadDeclarationError(f"{self.source.dataset}: where has an open quote or parenthesis")

    def page(self, within: KeyRange, after: Position | None, limit: int) -> Params:
        """Rows of a range after a position, in order of (cursor, key)."""
        cursor, key = self.source.cursor, self.source.unique_key
        conditions = self._within(within)
        if after is not None:
            at = literal(after.cursor)
            conditions.append(f"({cursor} > {at} or ({cursor} = {at} and {key} > {literal(after.key)}))")
        return {"$where": self._where(conditions), "$order": f"{cursor},{key}", "$limit": str(limit)}

    def newest(self) -> Params:
        """The greatest cursor."""
        params = {"$select": f"max({self.source.cursor}) as {VALUE}", "$limit": "1"}
        return params | ({"$where": self._where([])} if self.source.where.strip() else {})

    def days(self, within: KeyRange, since: str | None) -> Params:
        """Rows of each day of a range; ``since`` is the first cursor that is still wanted."""
        more = [] if since is None else [f"{self.source.cursor} >= {literal(since)}"]
        return self._tallies(f"date_trunc_ymd({self.source.cursor})", [*self._within(within), *more])

    def cursors(self, within: KeyRange, after: str | None) -> Params:
        """Rows of each cursor of a range; ``after`` is the last cursor that is known."""
        more = [] if after is None else [f"{self.source.cursor} > {literal(after)}"]
        return self._tallies(self.source.cursor, [*self._within(within), *more])

    def key_at(self, cursor: str, after: str | None, skip: int) -> Params:
        """The key of one row of an instant: after a key, and after ``skip`` more rows."""
        key = self.source.unique_key
        conditions = [f"{self.source.cursor} = {literal(cursor)}"]
        if after is not None:
            conditions.append(f"{key} > {literal(after)}")
        return {
            "$select": key,
            "$where": self._where(conditions),
            "$order": key,
            "$limit": "1",
            "$offset": str(skip),
        }

    def _tallies(self, value: str, conditions: list[str]) -> Params:
        return {
            "$select": f"{value} as {VALUE},count(*) as {ROWS}",
            "$where": self._where(conditions),
            "$group": VALUE,
            "$order": VALUE,
            "$limit": str(GROUPS),
        }

    def _within(self, within: KeyRange) -> list[str]:
        cursor, key = self.source.cursor, self.source.unique_key
        if within.to == within.start:
            conditions = [f"{cursor} = {literal(within.start)}"]
        else:
            conditions = [f"{cursor} >= {literal(within.start)}"]
            if within.before is not None:
                conditions.append(f"{cursor} < {literal(within.before)}")
            if within.to is not None:
                conditions.append(f"{cursor} <= {literal(within.to)}")
        if within.after_key is not None:
            conditions.append(f"{key} > {literal(within.after_key)}")
        if within.to_key is not None:
            conditions.append(f"{key} <= {literal(within.to_key)}")
        return conditions

    def _where(self, conditions: list[str]) -> str:
        declared = self.source.where.strip()
        return " and ".join([f"({declared})", *conditions] if declared else conditions)


def _is_closed(condition: str) -> bool:
    """Whether a condition keeps its meaning between parentheses: ``a) or (b`` does not."""
    bare = _QUOTED.sub("", condition)
    depth = 0
    for sign in bare:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0 and not any(quote in bare for quote in "'\"`")
