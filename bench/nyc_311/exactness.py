"""How exact: what is lost and what is doubled after three daily runs of a source that does not hold still.

Nothing is timed here. Which page a change falls between is steered by the server's own count of pages.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.nyc_311.arena import arena
from bench.nyc_311.contenders import Contender
from bench.nyc_311.players import Player, player
from bench.nyc_311.rows import write
from bench.nyc_311.source import Source
from bench.nyc_311.story import Story

LATENCY_MS = 50.0
"""Of every answer: long enough for a change between two pages to be made between them."""

PUBLISH_AT_PAGE, CLOSE_AT_PAGE, KILL_AT_PAGE = 4, 7, 5
PATIENCE_S = 300.0
POLL_S = 0.02


class MissedMomentError(Exception):
    """A run ended before the moment at which it was to be disturbed; the text says which."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The output of one contender, by unique key."""

    required: int
    lost: int
    doubled: int
    foreign: int
    lost_by_group: dict[str, int]
    doubled_by_group: dict[str, int]

    @property
    def is_exact(self) -> bool:
        """Whether every row is there once and nothing else."""
        return not (self.lost or self.doubled or self.foreign)


def perform(contender: Contender, source: Source, story: Story) -> Tally:
    """Play the story with one contender on an empty arena."""
    with arena() as place:
        _load(source, story)
        source.forget()
        source.set_latency(LATENCY_MS)
        actor = player(contender, place, source)
        try:
            _play(actor, source, story, page_rows=contender.page_rows, has_output=lambda: bool(place.files()))
        finally:
            actor.close()
            source.set_latency(0)
        return tally(story, place.rows_by_key())


def tally(story: Story, found: Counter[str]) -> Tally:
    """Compare the output with what the story says must be in it."""
    groups, optional = story.groups, story.optional
    required = frozenset().union(*groups.values())
    lost = {name: len(keys - found.keys()) for name, keys in groups.items()}
    doubled = {name: sum(found[key] - 1 for key in keys if found[key] > 1) for name, keys in groups.items()}
    doubled["closed"] = sum(found[key] - 1 for key in optional if found[key] > 1)
    return Tally(
        required=len(required),
        lost=sum(lost.values()),
        doubled=sum(doubled.values()),
        foreign=len(found.keys() - required - optional),
        lost_by_group=lost,
        doubled_by_group=doubled,
    )


def _load(source: Source, story: Story) -> None:
    with TemporaryDirectory(prefix="bench-rows-") as folder:
        source.load(write([*story.history, *story.unwanted], Path(folder) / "rows.ndjson.gz"))


def _play(actor: Player, source: Source, story: Story, *, page_rows: int, has_output: Callable[[], bool]) -> None:
    first, second, third = story.now

    actor.start(first)
    _await(actor, has_output, "its first file")
    actor.kill()
    actor.again()
    actor.wait()

    source.publish([*story.fresh[0], *story.late[0]])
    reading = _Reading(source, page_rows)
    actor.start(second)
    _await(actor, reading.reaches(PUBLISH_AT_PAGE), f"page {PUBLISH_AT_PAGE}")
    source.publish(story.midrun)
    _await(actor, reading.reaches(CLOSE_AT_PAGE), f"page {CLOSE_AT_PAGE}")
    source.publish(story.closed)
    actor.wait()

    source.publish([*story.fresh[1], *story.late[1]])
    reading = _Reading(source, page_rows)
    actor.start(third)
    _await(actor, reading.reaches(KILL_AT_PAGE), f"page {KILL_AT_PAGE}")
    actor.kill()
    actor.again()
    actor.wait()


class _Reading:
    """The pages of one run."""

    def __init__(self, source: Source, page_rows: int) -> None:
        self._source = source
        self._page_rows = page_rows
        self._before = len(source.pages(page_rows))

    def reaches(self, page: int) -> Callable[[], bool]:
        """Tells whether this page of the run has been asked for."""
        return lambda: len(self._source.pages(self._page_rows)) >= self._before + page


def _await(actor: Player, holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if not actor.is_running:
            raise MissedMomentError(f"the run ended before {what}")
        if time.monotonic() > deadline:
            raise MissedMomentError(f"the run did not reach {what} in {PATIENCE_S:g} s")
        time.sleep(POLL_S)
