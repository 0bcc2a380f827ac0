"""Visit events as upload files, with what must become of each: the demo's input and the tests' oracle.

The world is in ``visits``, the ways to go wrong in ``mistakes``; here they are put in the order of upload.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

from services.console.demo.dice import Deck, Dice
from services.console.demo.mistakes import EMPTY_FOREIGN, FOREIGN, INVALID, MALFORMED
from services.console.demo.visits import Event, bytes_of, document_of, life_of, name_of, new_visit

START = datetime(2024, 1, 2, 8, tzinfo=UTC)
"""When the first event happens."""

VISITS_AT_ONCE = 40
RECENT = 200
FOLDER_SUFFIX = "_$folder$"


@dataclass(frozen=True, slots=True)
class Upload:
    """One put under the source prefix; ``name`` is the key below it. A name that comes again is a new version.

    ``reason`` says why a quarantined upload is bad (malformed-json or invalid-record); ``kind`` what it shows.
    """

    name: str
    body: bytes
    expected: Literal["merged", "quarantined", "filtered", "ignored"]
    reason: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """Totals over uploads: every one of them is in exactly one of these."""

    merged: int = 0
    filtered: int = 0
    ignored: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, uploads: Iterable[Upload]) -> "Expected":
        """Count what must become of the uploads; ``quarantined`` is by reason."""
        tally = Counter((upload.expected, upload.reason) for upload in uploads)
        bad = {reason: count for (expected, reason), count in tally.items() if expected == "quarantined"}
        return cls(
            merged=tally["merged", ""], filtered=tally["filtered", ""], ignored=tally["ignored", ""], quarantined=bad
        )


def generate(
    seed: int,
    count: int,
    *,
    share_bad: float = 0.04,
    share_foreign: float = 0.02,
    share_repeated: float = 0.04,
    share_late: float = 0.02,
    share_sandbox: float = 0.05,
) -> list[Upload]:
    """``count`` uploads in order, always the same for the same arguments.

    Shares are fractions of the uploads, ``share_sandbox`` of the visits. Every kind of mistake appears once the
    bad uploads outnumber the kinds (about 60; foreign files: 10).
    """
    shares = {"bad": share_bad, "foreign": share_foreign, "repeated": share_repeated, "late": share_late}
    return list(islice(_World(Dice(seed), shares, share_sandbox).uploads(), count))


def write_files(uploads: Sequence[Upload], directory: Path) -> list[Path]:
    """Write uploads as files for ``tidegate put``; returns the folders, to be put one after the other.

    A folder cannot hold two versions of a name: the n-th upload of a name goes to the n-th folder (``put-001``,
    ``put-002``, …), and putting that folder makes the new version. A key that ends in a slash becomes a file with
    the suffix ``_$folder$``, as some tools write their markers.
    """
    seen: Counter[str] = Counter()
    folders: dict[int, Path] = {}
    for upload in uploads:
        seen[upload.name] += 1
        turn = seen[upload.name]
        if turn not in folders:
            folders[turn] = directory / f"put-{turn:03d}"
            folders[turn].mkdir(parents=True, exist_ok=True)
        name = upload.name[:-1] + FOLDER_SUFFIX if upload.name.endswith("/") else upload.name
        (folders[turn] / name).write_bytes(upload.body)
    return [folders[turn] for turn in sorted(folders)]


@dataclass(slots=True)
class _Life:
    """A visit under way; the first upload's name and time are needed when it is logged again."""

    steps: Iterator[tuple[str, Event]]
    name: str = ""
    happened: datetime = START


class _World:
    """Visits that go on side by side, and everything that comes between them."""

    def __init__(self, dice: Dice, shares: Mapping[str, float], share_sandbox: float) -> None:
        self._dice = dice
        self._shares = shares
        self._share_sandbox = share_sandbox
        self._now = self._earliest = START
        self._lives: list[_Life] = []
        self._recent: deque[tuple[Event, Upload]] = deque(maxlen=RECENT)
        bad = [("malformed-json", kind) for kind in MALFORMED] + [("invalid-record", kind) for kind in INVALID]
        self._mistakes = Deck(bad, dice)
        self._foreign = Deck(list(FOREIGN), dice)

    def uploads(self) -> Iterator[Upload]:
        makers = {"bad": self._bad, "foreign": self._foreign_file, "repeated": self._repeated, "late": self._late}
        while True:
            fraction = self._dice.between(0, 999_999) if self._dice.chance(0.2) else 0
            passed = timedelta(seconds=self._dice.between(5, 240))
            self._now = (self._now + passed).replace(microsecond=fraction)
            make = next((makers[name] for name, share in self._shares.items() if self._dice.chance(share)), None)
            yield self._next_of_a_visit() if make is None else make()

    def _upload(self, event: Event, kind: str, name: str | None = None) -> Upload:
        upload = Upload(
            name=name or name_of(event, dated=self._dice.chance(0.5)),
            body=bytes_of(document_of(event, self._dice), self._dice),
            expected="filtered" if event.project.startswith("sandbox-") else "merged",
            kind=kind,
        )
        self._recent.append((event, upload))
        return upload

    def _next_of_a_visit(self) -> Upload:
        while True:
            if len(self._lives) < VISITS_AT_ONCE:
                first = new_visit(self._dice, self._now, sandbox=self._dice.chance(self._share_sandbox))
                self._lives.append(_Life(life_of(self._dice, first)))
            life = self._dice.pick(self._lives)
            step = next(life.steps, None)
            if step is not None:
                return self._step(life, *step)
            self._lives.remove(life)

    def _step(self, life: _Life, kind: str, event: Event) -> Upload:
        if kind == "filled":  # the same event, at its own time and under its own name, with more in it
            return self._upload(replace(event, timestamp=life.happened), kind, life.name)
        upload = self._upload(replace(event, timestamp=self._now), kind)
        if kind == "submit":
            life.name, life.happened = upload.name, self._now
        return upload

    def _late(self) -> Upload:
        """An event that happened before every other one and arrives only now."""
        self._earliest -= timedelta(seconds=self._dice.between(60, 6 * 3_600))
        return self._upload(new_visit(self._dice, self._earliest, sandbox=False), "late")

    def _repeated(self) -> Upload:
        """The same content again: under its own key (a new version) or under another one."""
        if not self._recent:
            return self._next_of_a_visit()
        event, again = self._dice.pick(self._recent)
        if self._dice.chance(0.5):
            return replace(again, kind="same-key-again")
        name = name_of(event, dated=self._dice.chance(0.5), logged_at=self._now)
        return replace(again, name=name, kind="same-content-elsewhere")

    def _bad(self) -> Upload:
        reason, kind = self._mistakes.deal()
        event = new_visit(self._dice, self._now, sandbox=False)
        spoil = (MALFORMED if reason == "malformed-json" else INVALID)[kind]
        body = spoil(document_of(event, self._dice), self._dice)
        return Upload(name_of(event, dated=self._dice.chance(0.5)), body, "quarantined", reason, kind)

    def _foreign_file(self) -> Upload:
        kind = self._foreign.deal()
        event = new_visit(self._dice, self._now, sandbox=False)
        body = b"" if kind in EMPTY_FOREIGN else bytes_of(document_of(event, self._dice), self._dice)
        return Upload(FOREIGN[kind](name_of(event, dated=False)), body, "ignored", kind=kind)
