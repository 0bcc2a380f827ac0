"""The fast path and Pydantic must agree on every byte: rows, values, types, findings and their places."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import VisitEvent
from services.validator.core.records import SCHEMAS, Judged, judge, judge_by_model

EXAMPLES = 400
DIGITS = "0123456789"

label = st.one_of(
    st.sampled_from(["adrc", "form", "UDS", "01", "a, b", "x,", ":", "null", "5", "{", "a:b", "Zürich", "\u2028"]),
    st.text(min_size=1, max_size=12),
)
day = st.one_of(
    st.dates().map(str),
    st.sampled_from(["2023-02-30", "0001-01-01", "9999-12-31", "0000-01-01", "2024-02-29", "1000-01-01"]),
)
fraction = st.text(DIGITS, max_size=9).map(lambda digits: f".{digits}" if digits else "")
zone = st.one_of(
    st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "-05:00", "+14:59", "-23:59", "+24:00", "+0530", "+05"]),
    st.tuples(st.sampled_from("+-"), st.integers(0, 25), st.integers(0, 61)).map(
        lambda parts: f"{parts[0]}{parts[1]:02d}:{parts[2]:02d}"
    ),
)
clock = st.one_of(
    st.times().map(lambda time: time.isoformat("seconds")),
    st.sampled_from(["23:59:60", "24:00:00", "00:00:00", "12:30", "7:00:00"]),
)
moment = st.tuples(day, st.sampled_from("TTTTt _"), clock, fraction, zone).map("".join)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly valid events, in any order of fields, with optional ones null or absent and unknown ones added."""
    event: dict[str, Any] = {
        "action": draw(st.sampled_from(["submit", "pass-qc", "not-pass-qc", "delete"])),
        "study": draw(label),
        "pipeline_adcid": draw(st.one_of(st.integers(1, 2**31 - 1), st.integers(1, 99).map(str))),
        "project_label": draw(label),
        "center_label": draw(label),
        "gear_name": draw(label),
        "ptid": draw(st.text("ABCZ019", min_size=1, max_size=10)),
        "visit_date": draw(day),
        "visit_number": draw(label),
        "datatype": draw(label),
        "module": draw(st.none() | label),
        "packet": draw(st.none() | label),
        "timestamp": draw(moment),
    }
    for name in ("study", "module", "packet"):
        if draw(st.integers(0, 3)) == 0:
            del event[name]
    scalars = st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())
    event |= draw(st.dictionaries(st.sampled_from(["extra", "note-1", "x y", 'q"', "ä"]), scalars, max_size=2))
    return {key: event[key] for key in draw(st.permutations(sorted(event)))}


@st.composite
def written(draw: st.DrawFn) -> str:
    """An event as text, the way various producers write JSON."""
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,", ":"), (", ", ":")]))
    indent = draw(st.sampled_from([None, None, None, 1]))
    is_ascii = draw(st.booleans())
    return json.dumps(draw(events()), separators=separators, indent=indent, ensure_ascii=is_ascii)


PUNCTUATION = ['"', "\\", ",", ", ", ', "', ':"', "{", "}", "[", "]", "{}", "[1]", " ", "-", "Z", "+00:00"]
CHARACTERS = ["\n", "\r", "\t", "\x00", "\x1f", "\x7f", "\ufeff", "٣", "é", "A", "a", "1", "\\u0041", "\\ud800"]
VALUES = ["null", "true", "NaN", "-1", "1e400", "5.0", '" 5 "', '"1_0"', '"+5"', "0", "9" * 30]
MEMBERS = ['"ptid": "A", ', '"ptid":"B",', '"x": 1, ', '"module": null, ']
TOKENS = st.sampled_from(PUNCTUATION + CHARACTERS + VALUES + MEMBERS)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A document after some edits at the level of its text or its bytes."""
    text = draw(written())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20]))
        text = text[:start] + draw(st.just("") | TOKENS) + text[start + length :]
    raw = text.encode()
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf"])) + raw[place:]
    return raw


@st.composite
def retyped(draw: st.DrawFn) -> bytes:
    """An event in which one member got a value of any other kind, or is written twice, or is missing."""
    event = draw(events())
    key = draw(st.sampled_from(sorted(event)))
    strange = draw(
        st.one_of(
            st.sampled_from(
                ["", " ", "5", " 5 ", "5.0", "1_0", "+5", "٣", "ABCDEFGHIJK", "ABC\n", "abc", 0, -1, 2**31]
            ),
            st.sampled_from([True, False, None, 5, 5.0, 1.5, 1e300, [], {}, [1], {"a": {"b": 1}}, float("nan")]),
            st.text(max_size=4),
            moment,
            day,
        )
    )
    choice = draw(st.integers(0, 2))
    if choice == 0:
        return json.dumps({**event, key: strange}).encode()
    if choice == 1:
        return json.dumps({other: value for other, value in event.items() if other != key}).encode()
    text = json.dumps(event)
    return f"{text[:-1]}, {json.dumps(key)}: {json.dumps(strange)}}}".encode()


documents = st.lists(
    st.one_of(written().map(str.encode), mutated(), retyped(), st.binary(max_size=12)), min_size=1, max_size=6
)


def places(judged: Judged) -> list[tuple[int, str, list[tuple[str, Any]]]]:
    """What is compared of findings: which document, why, where and of what type."""
    return [
        (found.index, found.reason, [(error["type"], error["loc"]) for error in found.errors])
        for found in judged.findings
    ]


def agree(raw: Sequence[bytes], *, smallest_pass: int = 1) -> None:
    """Both ways judge these documents alike, and account for each of them once."""
    ours = judge(raw, smallest_pass=smallest_pass)
    theirs = judge_by_model(raw, VisitEvent, SCHEMAS["visit_event"])
    assert ours.frame.schema == SCHEMAS["visit_event"] == theirs.frame.schema
    assert ours.indexes.dtype == theirs.indexes.dtype
    assert ours.indexes.to_list() == theirs.indexes.to_list()
    assert ours.frame.rows() == theirs.frame.rows()
    assert ours.frame.equals(theirs.frame)
    assert places(ours) == places(theirs)
    everything = sorted(ours.indexes.to_list() + [found.index for found in ours.findings])
    assert everything == list(range(len(raw)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(documents)
def test_a_mixed_batch_is_judged_as_the_model_judges_it(raw: list[bytes]) -> None:
    """Whatever the documents are, both ways give the same rows and the same findings."""
    agree(raw)


@settings(max_examples=60, deadline=None)
@given(st.lists(written().map(str.encode) | mutated() | retyped(), min_size=1, max_size=5), st.integers(0, 2**32))
def test_a_batch_large_enough_for_look_ups_is_judged_as_the_model_judges_it(raw: list[bytes], seed: int) -> None:
    """Once values repeat, distinct pieces are judged once and looked up; the verdicts stay the model's."""
    bulk = [raw[(seed * step * step + step) % len(raw)] for step in range(1_200)]
    agree(bulk, smallest_pass=64)


@settings(max_examples=EXAMPLES, deadline=None)
@given(written(), st.data())
def test_one_document_and_its_edits_share_a_layout_but_not_a_verdict(text: str, data: st.DataObject) -> None:
    """A good document teaches the layout; an edited copy beside it must not profit from that."""
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.sampled_from([0, 1, 1, 2, 8, 30]))
    edited = text[:start] + data.draw(st.just("") | TOKENS) + text[start + length :]
    agree([text.encode(), edited.encode("utf-8", "surrogatepass"), text.encode()])
