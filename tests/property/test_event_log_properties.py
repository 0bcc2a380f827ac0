"""The correctness properties of the event log on file names and on the record (flow and queries: next to this)."""

from datetime import UTC, date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.records import VisitEvent
from tests.property.event_log_data import ACTIONS, INT32_MAX, events, json_values, labels, ptids
from tests.property.event_log_world import PIPELINE

HUNDRED = settings(max_examples=100, deadline=None)

name_parts = st.fixed_dictionaries(
    {
        "action": st.sampled_from(ACTIONS),
        "moment": st.from_regex(r"[0-9]{8}-[0-9]{6}", fullmatch=True),
        "adcid": st.from_regex(r"[0-9]{1,6}", fullmatch=True),
        "project": st.from_regex(r"[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+){0,3}", fullmatch=True),
        "ptid": ptids,
        "number": st.from_regex(r"[A-Za-z0-9_.]{1,4}", fullmatch=True),
    }
)
visit_date_suffixes = st.just("") | st.dates().map(lambda day: f"-{day.isoformat()}")


def joined(parts: dict[str, str], suffix: str = "", extension: str = ".json") -> str:
    order = [part for part in ("action", "moment", "adcid", "project", "ptid", "number") if part in parts]
    return "-".join(["log", *(parts[part] for part in order)]) + suffix + extension


# Feature: event-log-scraper, Property 1: File pattern matching correctness
@HUNDRED
@given(parts=name_parts, suffix=visit_date_suffixes, folder=st.sampled_from(["", "2024/01/"]), data=st.data())
def test_exactly_the_files_of_the_patterns_are_read(
    parts: dict[str, str], suffix: str, folder: str, data: st.DataObject
) -> None:
    """Both shipped patterns are accepted below the prefix; one broken part and the file is not ours."""
    accepts = PIPELINE.source.accepts
    assert accepts(f"events/{folder}{joined(parts, suffix)}")
    assert not accepts(f"other/{folder}{joined(parts, suffix)}")
    plain = {**parts, "project": parts["project"].replace("-", "_")}  # so that no part can stand in for another
    broken = data.draw(
        st.sampled_from(
            [
                joined({**plain, "action": "unknown"}, suffix),
                joined({**plain, "action": plain["action"].upper()}, suffix),
                joined({**plain, "moment": plain["moment"][1:]}, suffix),
                joined({**plain, "moment": plain["moment"].replace("-", "T")}, suffix),
                joined({**plain, "adcid": "x" + plain["adcid"]}, suffix),
                joined({**plain, "ptid": "p-" + plain["ptid"].lower() + "_"}),
                joined({key: part for key, part in plain.items() if key != "ptid"}),
                joined(plain, suffix, ".csv"),
                joined(plain, suffix, ".json.part"),
                joined(plain, suffix, ""),
                "x" + joined(plain, suffix),
                joined(plain, suffix) + "/",
            ]
        )
    )
    assert not accepts(f"events/{folder}{broken}")


no_ptids = labels.filter(lambda text: not set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
not_text = st.none() | st.integers() | st.lists(labels, max_size=1)
not_dates = st.sampled_from(["2024-02-30", "15/01/2024", "2024-1-5", "2024-01-15T00:00:00", ""]) | not_text
not_moments = st.sampled_from(["yesterday", "2024-01-15", "2024-13-01T00:00:00Z", "2024-01-15T25:00:00Z"]) | not_text
violations: dict[str, st.SearchStrategy[Any]] = {
    "action": labels.filter(lambda text: text not in ACTIONS) | not_text,
    "study": st.just("") | not_text,
    "pipeline_adcid": st.integers(max_value=0)
    | st.integers(INT32_MAX + 1)
    | st.sampled_from(["x", "", 1.5, True, None]),
    "project_label": st.just("") | not_text,
    "center_label": st.just("") | not_text,
    "gear_name": st.just("") | not_text,
    "ptid": no_ptids | st.just("") | st.text("ABC", min_size=11, max_size=20) | not_text,
    "visit_date": not_dates,
    "visit_number": st.just("") | not_text,
    "datatype": st.just("") | not_text,
    "module": st.integers() | st.lists(labels, max_size=1),
    "packet": st.integers() | st.lists(labels, max_size=1),
    "timestamp": not_moments,
}


# Feature: event-log-scraper, Property 5: Validation enforcement
@HUNDRED
@given(event=events(), data=st.data())
def test_every_constraint_is_enforced(event: VisitEvent, data: st.DataObject) -> None:
    """A value that breaks a rule, or a required field left out, is refused at its own field; study has a default."""
    assert violations.keys() == VisitEvent.model_fields.keys()
    document = event.model_dump(mode="json")
    field = data.draw(st.sampled_from(sorted(violations)))
    with pytest.raises(ValidationError) as caught:
        VisitEvent.model_validate({**document, field: data.draw(violations[field])})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}
    rest = {name: value for name, value in document.items() if name != field}
    if field in {"study", "module", "packet"}:
        default = {"study": "adrc"}.get(field)
        assert getattr(VisitEvent.model_validate(rest), field) == default
    else:
        with pytest.raises(ValidationError) as caught:
            VisitEvent.model_validate(rest)
        assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [("missing", (field,))]


# Feature: event-log-scraper, Property 5: Validation enforcement (nothing slips through)
@HUNDRED
@given(event=events(), changes=st.dictionaries(st.sampled_from(sorted(violations)), json_values | labels))
def test_whatever_is_accepted_obeys_every_constraint(event: VisitEvent, changes: dict[str, Any]) -> None:
    """Any values at all: either a refusal or an event that the checkpoint can hold."""
    try:
        read = VisitEvent.model_validate({**event.model_dump(mode="json"), **changes})
    except ValidationError:
        return
    assert read.action in ACTIONS
    assert 0 < read.pipeline_adcid <= INT32_MAX
    assert 1 <= len(read.ptid) <= 10
    assert set(read.ptid) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert all([read.study, read.project_label, read.center_label, read.gear_name, read.visit_number, read.datatype])
    assert type(read.visit_date) is date
    assert read.timestamp.tzinfo is UTC


# Feature: event-log-scraper, Property 6: Type conversion correctness
@HUNDRED
@given(event=events(), zeros=st.integers(0, 3))
def test_a_numeric_string_is_the_number(event: VisitEvent, zeros: int) -> None:
    """pipeline_adcid is an int however it is written, in Python and in JSON."""
    document = event.model_dump(mode="json")
    for spelling in (event.pipeline_adcid, str(event.pipeline_adcid), "0" * zeros + str(event.pipeline_adcid)):
        read = VisitEvent.model_validate({**document, "pipeline_adcid": spelling})
        assert type(read.pipeline_adcid) is int
        assert read == event


# Feature: event-log-scraper, Property 7: Null preservation
@HUNDRED
@given(event=events(), fields=st.sets(st.sampled_from(["module", "packet"]), min_size=1))
def test_null_stays_null(event: VisitEvent, fields: set[str]) -> None:
    """An explicit null and an absent field are both null, and the other fields keep their values."""
    nulls: dict[str, Any] = dict.fromkeys(fields)
    document = {**event.model_dump(mode="json"), **nulls}
    expected = event.model_copy(update=nulls)
    assert VisitEvent.model_validate(document) == expected
    assert VisitEvent.model_validate({k: v for k, v in document.items() if k not in fields}) == expected
    assert all(VisitEvent.model_validate(document).model_dump()[field] is None for field in fields)


# Feature: event-log-scraper, Property 8: Serialization round-trip
@HUNDRED
@given(
    event=events(timestamps=st.datetimes(timezones=st.just(UTC) | st.timezones()).filter(lambda t: 1 < t.year < 9999))
)
def test_an_event_survives_json(event: VisitEvent) -> None:
    """Written as JSON and read again it is equal, to the microsecond, and its timestamp is UTC."""
    read = VisitEvent.model_validate_json(event.model_dump_json())
    assert read == event
    assert read.timestamp.utcoffset() == event.timestamp.utcoffset() == UTC.utcoffset(None)
