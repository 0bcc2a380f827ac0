"""The fast path and the reference must agree on every byte: rows, values, findings, nulled values, unknown members."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.pipelines import Column
from services.validator.core.declared.judge import RowJudge, judge_by_line

EXAMPLES = 150
COLUMNS = {
    "id": Column(type="string", required=True),
    "at": Column(type="timestamp_us", required=True),
    "name": Column(type="string"),
    "count": Column(type="int64", on_error="null"),
    "small": Column(type="int32"),
    "price": Column(type="float64", on_error="null"),
    "open": Column(type="boolean"),
    "day": Column(type="date", on_error="null"),
    "seen": Column(type="timestamp_us_utc"),
    "place": Column(type="point", on_error="null"),
    "home": Column(type="point"),
    "été": Column(type="string"),
}

digits = st.text("0123456789", min_size=1, max_size=22)
WORDS = ["", " ", "N/A", "a, b", "x,", "{", "}", "[]", "null", "true", "id", "--------", "a" * 70, "5", "Point"]
CUTS = ['","', '":"', ':","x":"', '"', "\\", "\n", "\t", "\x00", "\ud800"]
FOREIGN = ["Zürich", "\u2028", "\ufeff", "😀", "\x7f"]
words = st.sampled_from(WORDS + CUTS + FOREIGN)
texts = st.one_of(words, st.text(max_size=8))
numerals = st.one_of(
    digits,
    digits.map(lambda text: f"-{text}"),
    st.integers().map(str),
    st.sampled_from(["0", "-0", "+5", "007", "1_0", " 5", "٣", str(2**31), str(-(2**31)), str(2**63 - 1), str(2**63)]),
)
decimals = st.one_of(
    numerals,
    st.floats(-180.5, 180.5).map(repr),
    st.tuples(digits, digits).map(".".join),
    st.sampled_from(["1e3", "1E-5", "-1.5e400", ".5", "5.", "NaN", "inf", "Infinity", "1e", "0x1", "90", "-90.000"]),
)
dates = st.one_of(
    st.dates().map(str),
    st.sampled_from(["2023-02-30", "0000-01-01", "0001-01-01", "9999-12-31", "1899-12-31", "3027-06-01", "2024-2-1"]),
)
clocks = st.one_of(
    st.times().map(lambda time: time.isoformat("seconds")),
    st.sampled_from(["23:59:60", "24:00:00", "00:00:00", "12:30", "7:00:00"]),
)
fractions = st.one_of(st.just(""), st.just(".000"), st.text("0123456789", max_size=8).map(lambda d: f".{d}"))
zones = st.one_of(
    st.sampled_from(["", "", "", "Z", "z", "+00:00", "-00:30", "-05:00", "+23:59", "-24:00", "+05:60", "+0530"]),
    st.tuples(st.sampled_from("+-"), st.integers(0, 25), st.integers(0, 61)).map(
        lambda parts: f"{parts[0]}{parts[1]:02d}:{parts[2]:02d}"
    ),
)
moments = st.tuples(dates, st.sampled_from("TTTTTTt _"), clocks, fractions, zones).map("".join)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    texts,
    numerals,
    decimals,
    moments,
    st.sampled_from(["True", "FALSE", "false", "yes", "Point"]),
    st.integers(-(2**70), 2**70),
    st.floats(),
)
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2), max_leaves=4
)
degrees = st.one_of(st.floats(-200, 200, width=32), st.integers(-181, 181), st.none())
spelled = st.one_of(degrees.map(lambda value: value if value is None else str(value)), degrees, decimals)
shapes = st.sampled_from(["Point", "Point", "Line"])
points = st.one_of(
    st.fixed_dictionaries({"type": shapes, "coordinates": st.tuples(spelled, spelled)}),
    st.fixed_dictionaries({"latitude": spelled, "longitude": spelled}, optional={"human_address": texts | nested}),
    st.dictionaries(st.sampled_from(["latitude", "longitude", "type", "coordinates"]), nested, max_size=3),
)


def fixed(limit: int) -> st.SearchStrategy[float]:
    """Numbers below a limit that Python writes without an exponent."""
    return st.integers(-limit * 1000, limit * 1000).map(lambda thousandths: thousandths / 1000 + 0.0005)


late = st.datetimes(datetime(1000, 1, 1), datetime(8999, 12, 31))  # noqa: DTZ001 - local times
milliseconds = late.map(lambda moment: moment.isoformat("T", "milliseconds"))
plain = st.sampled_from(WORDS + FOREIGN)
ordinary = {
    "id": st.integers(1, 10**8).map(str),
    "at": milliseconds | late.map(lambda moment: moment.isoformat("T")),
    "name": plain | st.integers() | st.booleans(),
    "count": st.integers(-(10**17), 10**17).map(str) | st.integers(0, 10**6) | st.sampled_from(["007", "-0"]),
    "small": st.integers(-(10**9), 10**9).map(str) | st.integers(0, 99),
    "price": fixed(10**6).map(repr) | fixed(10**6) | st.integers(0, 99).map(str),
    "open": st.booleans() | st.sampled_from(["true", "false"]),
    "day": st.dates(date(1000, 1, 1)).map(str),
    "seen": st.tuples(milliseconds, st.sampled_from(["Z", "+00:00", "-05:30"])).map("".join),
    "place": st.tuples(fixed(180), fixed(90)).map(lambda pair: {"type": "Point", "coordinates": list(pair)}),
    "home": st.tuples(fixed(90).map(repr), fixed(180).map(str), plain | words).map(
        lambda parts: dict(zip(["latitude", "longitude", "human_address"], parts, strict=True))
    ),
    "été": plain,
}
nasty = {
    "id": texts,
    "at": moments,
    "name": texts,
    "count": numerals,
    "small": numerals,
    "price": decimals,
    "open": words,
    "day": dates,
    "seen": moments,
    "place": points,
    "home": points,
    "été": texts,
}
extras = st.dictionaries(st.sampled_from(["new", ":@region", 'q"', "", "\ud83d", "x y", "tags"]), nested, max_size=2)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly sensible rows with absent members, unknown ones, and now and then a value of any other kind."""
    names = [name for name in ordinary if name in {"id", "at"} or draw(st.booleans())]
    row: dict[str, Any] = {name: draw(ordinary[name]) for name in names}
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(COLUMNS)))
        row[name] = draw(nasty[name] | nested)
    if draw(st.integers(0, 15)) == 0:
        del row[draw(st.sampled_from(sorted(row)))]
    return row | (draw(extras) if draw(st.integers(0, 2)) == 0 else {})


@st.composite
def written(draw: st.DrawFn) -> str:
    """A row as text, the way various producers write JSON."""
    separators = draw(st.sampled_from([(",", ":"), (",", ":"), (", ", ": "), (" ,", ":"), (", ", ":")]))
    return json.dumps(draw(rows()), separators=separators, ensure_ascii=draw(st.integers(0, 3)) == 0)


PUNCTUATION = ['"', "\\", ",", '","', '":"', '":', "{", "}", "[", "]", "{}", "[1]", " ", "-", "Z", "1", "e5", "+00:00"]
CHARACTERS = ["\r", "\t", "\x00", "\x1f", "\ufeff", "é", "A", "\\u0041", "\\ud800", "\\ud83d\\ude00", "\\/"]
WHOLE = ["null", "true", "0", '""', "{}", "[]"]
MEMBERS = ['"id":"twice",', '"name":5,', '"new":"x",', '"place":{"latitude":"1","longitude":"2"},', '"name":null,']
edits = st.sampled_from(PUNCTUATION + CHARACTERS + WHOLE + MEMBERS)


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """A line after some edits at the level of its text or its bytes."""
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20]))
        text = text[:start] + draw(st.just("") | edits) + text[start + length :]
    raw = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf"])) + raw[place:]
    return raw


def bytes_of(text: str) -> bytes:
    """Text as a line; half a surrogate pair that stands unescaped is not UTF-8."""
    return text.encode("utf-8", "surrogatepass")


garbage = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b""))
documents = st.sampled_from([b"", b"{}", b"null", b"[]", b"\r", b'"x"'])
lines = st.one_of(written().map(bytes_of), written().map(bytes_of), written().flatmap(edited), garbage, documents)


def agree(judge: RowJudge, raw: Sequence[bytes]) -> None:
    """Both ways judge these lines alike, and account for each of them once."""
    ours, theirs = judge.judge(raw), judge_by_line(raw, range(len(raw)), COLUMNS)
    assert ours.frame.schema == theirs.frame.schema
    assert ours.indexes.dtype == theirs.indexes.dtype
    assert ours.indexes.to_list() == theirs.indexes.to_list()
    assert ours.frame.equals(theirs.frame)
    assert ours.frame.rows() == theirs.frame.rows()
    assert ours.bad == theirs.bad
    assert ours.nulled == theirs.nulled
    assert ours.unknown == theirs.unknown
    assert sorted(ours.indexes.to_list() + [bad.position for bad in ours.bad]) == list(range(len(raw)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(lines, min_size=1, max_size=6), st.lists(lines, max_size=4))
def test_any_lines_are_judged_as_the_reference_judges_them(first: list[bytes], second: list[bytes]) -> None:
    """Whatever the lines of two blocks are, the fast path gives the reference's rows and findings."""
    judge = RowJudge(COLUMNS, smallest_pass=1, smallest_mould=1)
    agree(judge, first)
    agree(judge, second)


@settings(max_examples=EXAMPLES, deadline=None)
@given(written(), st.data())
def test_a_line_and_its_edits_share_a_mould_but_not_a_verdict(text: str, data: st.DataObject) -> None:
    """A good line teaches its mould; an edited copy beside it must not profit from that."""
    copies = [data.draw(edited(text)) for _ in range(3)]
    judge = RowJudge(COLUMNS, smallest_pass=1, smallest_mould=1)
    agree(judge, [bytes_of(text), *copies, bytes_of(text)])


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows(), st.lists(rows(), min_size=1, max_size=4), st.data())
def test_rows_with_the_same_members_differ_in_their_values_only(
    sample: dict[str, Any], others: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Rows of one kind, as one program writes them, are the fast path's daily work: every value is read right."""
    alike = [{name: other.get(name, value) for name, value in sample.items()} for other in others]
    spoiled = data.draw(st.sampled_from(sorted(sample.keys() & COLUMNS.keys())))
    alike.append({**sample, spoiled: data.draw(nasty[spoiled])})
    spaced = data.draw(st.booleans())
    separators = (", ", ": ") if spaced else (",", ":")
    raw = [json.dumps(row, separators=separators, ensure_ascii=False) for row in [sample, *alike]]
    agree(RowJudge(COLUMNS, smallest_pass=1, smallest_mould=1), [bytes_of(text) for text in raw])
