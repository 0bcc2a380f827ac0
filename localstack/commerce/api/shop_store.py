"""The records of the shop, in memory and in a file: each one as the text that it came in."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

KEYS: Mapping[str, str] = {"payments": "payment_id", "shipments": "shipment_id"}
"""What is served, and which member of a record tells it apart."""
CURSOR = "updated_at"

Place = tuple[str, str]
"""Where a record stands: moment of its last change (UTC, 26 characters; empty if it has none that can be read), key."""

_DECODER = json.JSONDecoder()


class StoreError(Exception):
    """Records or their file are not what they must be; the text says where."""


class Entity:
    """The records of one kind, in order of their last change."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._records: dict[str, tuple[Place, str]] = {}
        self._order: list[tuple[Place, str]] | None = []

    def __len__(self) -> int:
        return len(self._records)

    def put(self, texts: Sequence[str]) -> None:
        """Add records, or change those whose keys are there.

        Raises:
            StoreError: one of them is no object with a key; none of them is taken then.
        """
        placed = [self._placed(text) for text in texts]
        self._records |= {place[1]: (place, text) for place, text in placed}
        self._order = None

    def texts(self, *, after: Place | None, since: str | None, exclusive: bool) -> list[tuple[Place, str]]:
        """Records after a place, and not older than a moment; those without one are never too old."""
        if self._order is None:
            self._order = sorted(self._records.values())
        order = self._order
        start = 0 if after is None else bisect_right(order, after, key=lambda each: each[0])
        if since is None:
            return order[start:]
        undated = bisect_left(order, ("0", ""), key=lambda each: each[0])
        bound = (since, "\U0010ffff") if exclusive else (since, "")
        recent = bisect_left(order, bound, key=lambda each: each[0])
        return order[start:undated] + order[max(start, recent) :]

    def _placed(self, text: str) -> tuple[Place, str]:
        record = json.loads(text)
        key = record.get(self._key) if isinstance(record, dict) else None
        if not isinstance(key, str):
            raise StoreError(f"a record has no {self._key} that is text: {text[:200]}")
        return (moment(record.get(CURSOR)) or "", key), text


class Store:
    """All records; what is put into it is also appended to its file."""

    def __init__(self, journal: IO[str] | None = None) -> None:
        self.entities = {name: Entity(key) for name, key in KEYS.items()}
        self._journal = journal

    @classmethod
    @contextmanager
    def open(cls, path: Path | None) -> Iterator[Self]:
        """A store with what a file holds.

        Raises:
            StoreError: the file was not written by a store.
        """
        if path is None:
            yield cls()
            return
        path.touch()
        with path.open("r+", encoding="utf-8") as journal:
            store = cls(journal)
            store._replay(path)
            yield store

    def change(self, entity: str, body: str, *, replace: bool) -> int:
        """Take the records of a JSON array; how many there were.

        Raises:
            StoreError: they are none; nothing was changed.
        """
        texts = elements(body)
        self._apply(entity, texts, replace=replace)
        if self._journal is not None:
            self._journal.write(json.dumps({"entity": entity, "replace": replace, "records": texts}) + "\n")
            self._journal.flush()
        return len(texts)

    def _apply(self, entity: str, texts: Sequence[str], *, replace: bool) -> None:
        if not replace:
            self.entities[entity].put(texts)
            return
        fresh = Entity(KEYS[entity])
        fresh.put(texts)
        self.entities[entity] = fresh

    def _replay(self, path: Path) -> None:
        assert self._journal is not None  # noqa: S101 - only stores with a file get here
        end = 0
        while line := self._journal.readline():
            if not line.endswith("\n"):  # its writer was killed, and its client was told nothing
                break
            try:
                entry = json.loads(line)
                self._apply(entry["entity"], entry["records"], replace=entry["replace"])
            except (ValueError, KeyError, TypeError, StoreError) as error:
                raise StoreError(f"{path}: was not written by this server: {error}") from error
            end = self._journal.tell()
        self._journal.seek(end)
        self._journal.truncate()


def elements(body: str) -> list[str]:
    """The elements of a JSON array as they are written, so that numbers keep their digits.

    Raises:
        StoreError: it is no array.
    """
    text = body.strip()
    try:
        if not isinstance(json.loads(text), list):
            raise StoreError("records are a JSON array")
    except ValueError as error:
        raise StoreError(f"records are a JSON array: {error}") from error
    found = []
    place = _after(text, 1, "")
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        found.append(" ".join(text[place:end].splitlines()))
        place = _after(text, end, ",")
    return found


def moment(value: Any) -> str | None:
    """A timestamp as 26 characters of UTC; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        utc = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds")


def _after(text: str, place: int, sign: str) -> int:
    """The next token, behind a sign if that comes first."""
    signs = " \t\r\n" + sign
    while text[place] in signs:
        place += 1
    return place
