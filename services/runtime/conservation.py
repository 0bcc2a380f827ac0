"""The conservation table: at each hop of a run, what went in must have come out somewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.runs import RunMode
from services.runtime.ledger import Run, SegmentEntry, Step


@dataclass(frozen=True, slots=True)
class Hop:
    """One row of the table; counts are occurrences."""

    name: str
    received: int
    passed_on: int
    quarantined: int = 0
    filtered: int = 0
    ignored: int = 0
    duplicates: int = 0
    pending: int = 0

    @property
    def missing(self) -> int:
        """What cannot be accounted for; zero in a balanced hop."""
        accounted = self.passed_on + self.quarantined + self.filtered + self.ignored + self.duplicates + self.pending
        return self.received - accounted


@dataclass(frozen=True, slots=True)
class Conservation:
    """The table of one run. ``problems`` is empty exactly when everything adds up."""

    hops: tuple[Hop, ...]
    problems: tuple[str, ...]
    pending_segments: int

    @property
    def balanced(self) -> bool:
        """Whether every hop, and every step from hop to hop, adds up."""
        return not self.problems

    @property
    def records(self) -> int:
        """Rows that are new in the output."""
        return self.hops[-1].passed_on


def conserve(run: Run, segments: Sequence[SegmentEntry]) -> Conservation:
    """Draw up the table of a run from its ledger entries."""
    unvalidated = sum(s.planned for s in segments if s.step is Step.PLANNED)
    judged = [s for s in segments if s.step in {Step.VALIDATED, Step.MERGED}]
    settled = [s for s in judged if s.settlement is not None]
    open_ = [s for s in judged if s.settlement is None]
    outcome = [s.settlement for s in settled if s.settlement is not None]
    rows = sum(s.counts.rows for s in judged)
    validate = Hop(
        name="validate",
        received=sum(s.counts.received for s in judged) + unvalidated,
        passed_on=rows,
        quarantined=sum(o.quarantined for o in outcome) + sum(s.counts.quarantined for s in open_),
        filtered=sum(o.filtered for o in outcome) + sum(s.counts.filtered for s in open_),
        ignored=sum(o.ignored for o in outcome) + sum(s.counts.ignored for s in open_),
        duplicates=sum(s.counts.duplicates for s in judged) + sum(o.verdict_duplicates for o in outcome),
        pending=unvalidated,
    )
    merge = Hop(
        name="merge",
        received=rows,
        passed_on=sum(o.merged for o in outcome),
        duplicates=sum(o.row_duplicates for o in outcome),
        pending=sum(s.counts.rows for s in open_),
    )
    hops = [validate, merge]
    problems = []
    # While a segment is judged that is cut by destination, its parts are entered and it still counts whole.
    judging = any(s.step in {Step.PLANNED, Step.FETCHED} for s in segments)
    if run.collection is not None or any(s.fetched is not None for s in segments):
        fetched = sum(s.fetched or 0 for s in segments)
        hops.insert(0, Hop(name="fetch", received=fetched, passed_on=fetched))
        if not judging and fetched != validate.received:
            problems.append(f"fetch passed on {fetched} but validate received {validate.received}")
    elif run.mode is not RunMode.EVENTS:
        plan = Hop(
            name="plan",
            received=run.scan.listed,
            passed_on=run.scan.dispatched,
            ignored=run.scan.ignored,
            duplicates=run.scan.settled,
        )
        hops.insert(0, plan)
        if run.planned is not None and not judging and plan.passed_on != validate.received:
            problems.append(f"plan passed on {plan.passed_on} but validate received {validate.received}")
    problems += [f"{hop.name}: {hop.missing} of {hop.received} unaccounted for" for hop in hops if hop.missing]
    return Conservation(tuple(hops), tuple(problems), pending_segments=sum(s.step is not Step.MERGED for s in segments))
