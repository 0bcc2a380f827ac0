"""Hypothesis strategies for visit events and the files they come in."""

import json
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import strategies as st

from contracts.records import VisitEvent

ACTIONS = ("submit", "pass-qc", "not-pass-qc", "delete")
INT32_MAX = 2**31 - 1

labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ptids = st.text("ABCXYZ0189", min_size=1, max_size=10)
moments = st.datetimes(timezones=st.just(UTC))
optional_labels = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def events(
    *,
    visits: st.SearchStrategy[tuple[str, date, str]] | None = None,
    timestamps: st.SearchStrategy[datetime] = moments,
    names: st.SearchStrategy[str] = labels,
    optional: st.SearchStrategy[str | None] = optional_labels,
) -> st.SearchStrategy[VisitEvent]:
    """Valid events; narrow ``visits``, ``timestamps`` or texts to make events meet one another."""
    return st.builds(
        _event,
        visit=st.tuples(ptids, st.dates(), labels) if visits is None else visits,
        action=st.sampled_from(ACTIONS),
        study=names,
        pipeline_adcid=st.integers(1, INT32_MAX),
        project_label=names.filter(lambda name: not name.startswith("sandbox-")),
        center_label=names,
        gear_name=names,
        datatype=names,
        module=optional,
        packet=optional,
        timestamp=timestamps,
    )


def _event(visit: tuple[str, date, str], **fields: Any) -> VisitEvent:
    ptid, visit_date, visit_number = visit
    return VisitEvent(ptid=ptid, visit_date=visit_date, visit_number=visit_number, **fields)


few_visits = st.tuples(
    st.sampled_from(["ABC123", "X9"]),
    st.sampled_from([date(2024, 1, 15), date(2024, 2, 29)]),
    st.sampled_from(["01", "02"]),
)
"""Visits so few that events meet on one."""

few_moments = st.integers(0, 6).map(lambda hour: datetime(2024, 1, 15, 10 + hour, tzinfo=UTC))
"""Moments so few that events tie."""

few_names = st.sampled_from(["alpha", "beta", "gamma", "ünïcode 'quoted'"])
few_optional = st.none() | st.sampled_from(["UDS", "FTLD", "I", "F"])

meeting_events = events(visits=few_visits, timestamps=few_moments, names=few_names, optional=few_optional)
"""Events of few visits at few moments: they evolve, tie and repeat."""


def file_name(event: VisitEvent, number: int) -> str:
    """A name that the shipped patterns accept; ``number`` keeps it apart from others."""
    return f"log-{event.action}-20240115-100000-{number}-some-project-{event.ptid}-01.json"


@st.composite
def spellings(draw: st.DrawFn, event: VisitEvent) -> bytes:
    """The event as some producer may write it: keys in any order, any spacing, fields it does not know."""
    document = json.loads(event.model_dump_json())
    unknown = draw(
        st.dictionaries(labels.filter(lambda key: key not in VisitEvent.model_fields), json_values, max_size=2)
    )
    if draw(st.booleans()):
        document["pipeline_adcid"] = str(document["pipeline_adcid"])
    items = draw(st.permutations([*document.items(), *unknown.items()]))
    indent = draw(st.sampled_from([None, 0, 2]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    return json.dumps(dict(items), ensure_ascii=draw(st.booleans()), indent=indent, separators=separators).encode()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | labels,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(labels, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value of moderate size."""
