"""Named corner cases of judging, and the proof that the fast path is alive."""

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from contracts.records import VisitEvent
from services.validator.core.certify import Certifier
from services.validator.core.records import BLOCK_ROWS, SCHEMAS, judge, judge_by_model

EVENT: dict[str, Any] = {
    "action": "submit",
    "study": "adrc",
    "pipeline_adcid": 42,
    "project_label": "ingest-form",
    "center_label": "alpha",
    "gear_name": "form-qc-checker",
    "ptid": "AB1234",
    "visit_date": "2024-03-15",
    "visit_number": "01",
    "datatype": "form",
    "module": "UDS",
    "packet": "I",
    "timestamp": "2024-03-15T10:30:00Z",
}
TEXT = json.dumps(EVENT)


def event(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}, ensure_ascii=False).encode()


def edited(old: str, new: str) -> bytes:
    assert old in TEXT
    return TEXT.replace(old, new).encode()


def without(*names: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key not in names}).encode()


def certified(*documents: bytes) -> list[int]:
    """Which documents the fast path proves, each pass counting as worth its cost."""
    return Certifier(VisitEvent, SCHEMAS["visit_event"], smallest_pass=1).certify(documents).indexes.to_list()


CORNERS: dict[str, tuple[bytes, bool]] = {
    "ordinary": (event(), True),
    "pretty-printed": (json.dumps(EVENT, indent=2).encode(), True),
    "leading byte order mark": (b"\xef\xbb\xbf" + event(), False),
    "invalid utf-8": (edited("alpha", "alpha!").replace(b"!", b"\xff"), False),
    "encoded surrogate": (edited("alpha", "alpha!").replace(b"!", b"\xed\xa0\x80"), False),
    "lone surrogate escape": (edited("alpha", r"\ud800"), False),
    "utf-16": (TEXT.encode("utf-16"), False),
    "duplicate key, last one valid": (edited('"ptid"', '"ptid": "bad!", "ptid"'), True),
    "duplicate key, last one invalid": (edited('"visit_date"', '"ptid": "bad!", "visit_date"'), False),
    "duplicate key at the end": (edited('Z"}', 'Z", "ptid": "OTHER"}'), True),
    "number for a label": (event(project_label=5), False),
    "number for a visit number": (event(visit_number=1), False),
    "boolean for a number": (event(pipeline_adcid=True), False),
    "numeric string": (event(pipeline_adcid="5"), True),
    "numeric string with spaces": (event(pipeline_adcid=" 5 "), True),
    "numeric string with a fraction of zero": (event(pipeline_adcid="5.0"), True),
    "numeric string with an underscore": (event(pipeline_adcid="1_0"), True),
    "numeric string with a sign": (event(pipeline_adcid="+5"), True),
    "numeric string of other digits": (event(pipeline_adcid="٣"), False),
    "float without a fraction": (event(pipeline_adcid=5.0), True),
    "float with a fraction": (event(pipeline_adcid=5.5), False),
    "number with an exponent": (edited("42", "1e2"), True),
    "leading zero": (edited("42", "042"), False),
    "minus zero": (edited("42", "-0"), False),
    "zero": (event(pipeline_adcid=0), False),
    "greatest 32-bit number": (event(pipeline_adcid=2**31 - 1), True),
    "beyond 32 bits": (event(pipeline_adcid=2**31), False),
    "huge integer": (event(pipeline_adcid=10**400), False),
    "not a number": (edited("42", "NaN"), False),
    "infinity by exponent": (edited("42", "1e400"), False),
    "escaped letter": (edited("alpha", r"\u0061lpha"), True),
    "escaped quote": (edited("alpha", r"al\"pha"), True),
    "escaped control character": (edited("alpha", r"al\u0000pha"), True),
    "escaped key": (edited('"ptid"', r'"\u0070tid"'), True),
    "raw newline in a string": (edited("alpha", "al\npha"), False),
    "raw tab in a string": (edited("alpha", "al\tpha"), False),
    "raw null character in a string": (edited("alpha", "al\0pha"), False),
    "delete character in a string": (edited("alpha", "al\x7fpha"), True),
    "line separator in a string": (event(center_label="al\u2028pha"), True),
    "other alphabets": (event(center_label="Zürich 東京"), True),
    "comma in a label": (event(center_label="alpha, beta"), True),
    "comma at the end of a label": (event(center_label="alpha, "), True),
    "label that looks like json": (event(center_label="': null, {}"), True),
    "newline after the document": (event() + b"\n", True),
    "spaces around": (b"  " + event() + b" \r\n", True),
    "garbage after the document": (event() + b"x", False),
    "second document": (event() + event(), False),
    "nested value": (event(center_label={"a": "b"}), False),
    "null label": (event(center_label=None), False),
    "null study": (event(study=None), False),
    "null module and packet": (event(module=None, packet=None), True),
    "module that says null": (event(module="null"), True),
    "empty module": (event(module=""), True),
    "number for a module": (event(module=5), False),
    "absent study": (without("study"), True),
    "absent module and packet": (without("module", "packet"), True),
    "absent ptid": (without("ptid"), False),
    "several things wrong": (event(ptid="", action="open", timestamp="x"), False),
    "unknown string": (event(extra="x"), True),
    "unknown empty string": (event(extra=""), True),
    "unknown number": (event(extra=-1.25), True),
    "unknown not a number": (event(extra=float("nan")), True),
    "unknown object": (event(extra={"ptid": "bad!"}), True),
    "unknown malformed number": (edited('"ptid"', '"extra": 01, "ptid"'), False),
    "empty document": (b"", False),
    "only spaces": (b"  \n", False),
    "null": (b"null", False),
    "array": (b"[" + event() + b"]", False),
    "string": (b'"text"', False),
    "truncated": (event()[:-1], False),
    "truncated in a value": (event()[:-5], False),
    "deeply nested": (b"[" * 100_000, False),
    "empty label": (event(center_label=""), False),
    "empty ptid": (event(ptid=""), False),
    "ptid of ten characters": (event(ptid="ABCDE12345"), True),
    "ptid of eleven characters": (event(ptid="ABCDE123456"), False),
    "newline after ptid": (event(ptid="AB12\n"), False),
    "lower-case ptid": (event(ptid="ab12"), False),
    "ptid of other digits": (event(ptid="AB٣"), False),
    "unknown action": (event(action="Submit"), False),
    "impossible day": (event(visit_date="2023-02-30"), False),
    "no leap day": (event(visit_date="2023-02-29"), False),
    "leap day": (event(visit_date="2024-02-29"), True),
    "year one": (event(visit_date="0001-01-01"), True),
    "year zero": (event(visit_date="0000-01-01"), False),
    "last year": (event(visit_date="9999-12-31"), True),
    "date as a timestamp": (event(visit_date="2024-03-15T00:00:00"), False),
    "date as a number": (event(visit_date=19797), False),
    "date with single digits": (event(visit_date="2024-3-15"), False),
    "date of other digits": (event(visit_date="٢٠٢٤-03-15"), False),
    "naive timestamp": (event(timestamp="2024-03-15T10:30:00"), True),
    "timestamp in lower case": (event(timestamp="2024-03-15t10:30:00z"), True),
    "timestamp with a space": (event(timestamp="2024-03-15 10:30:00Z"), True),
    "timestamp without seconds": (event(timestamp="2024-03-15T10:30Z"), True),
    "offset to the east": (event(timestamp="2024-03-15T10:30:00.5+05:30"), True),
    "offset to the west": (event(timestamp="2024-03-15T23:30:00.25-05:00"), True),
    "offset of minus zero": (event(timestamp="2024-03-15T10:30:00-00:00"), True),
    "offset without a colon": (event(timestamp="2024-03-15T10:30:00+0530"), True),
    "offset of a day": (event(timestamp="2024-03-15T10:30:00+24:00"), False),
    "one digit of a second": (event(timestamp="2024-03-15T10:30:00.1Z"), True),
    "six digits of a second": (event(timestamp="2024-03-15T10:30:00.999999Z"), True),
    "seven digits of a second": (event(timestamp="2024-03-15T10:30:00.9999999Z"), True),
    "nine digits of a second": (event(timestamp="2024-03-15T10:30:00.123456789Z"), True),
    "point without digits": (event(timestamp="2024-03-15T10:30:00.Z"), False),
    "digits where the fraction should be": (event(timestamp=f"2024-03-15T10:30:00{'9' * 40}Z"), False),
    "endless fraction": (event(timestamp=f"2024-03-15T10:30:00.{'9' * 400}Z"), True),
    "digits where the offset should be": (event(timestamp=f"2024-03-15T10:30:00{'9' * 40}+99:99"), False),
    "leap second": (event(timestamp="2016-12-31T23:59:60Z"), False),
    "hour 24": (event(timestamp="2024-03-15T24:00:00Z"), False),
    "impossible day in a timestamp": (event(timestamp="2023-02-30T10:00:00Z"), False),
    "timestamp in year one": (event(timestamp="0001-01-01T00:00:00Z"), True),
    "timestamp before year one in UTC": (event(timestamp="0001-01-01T00:00:00+01:00"), False),
    "timestamp at the last microsecond": (event(timestamp="9999-12-31T23:59:59.999999Z"), True),
    "timestamp after year 9999 in UTC": (event(timestamp="9999-12-31T23:59:59-01:00"), False),
    "timestamp before 1970": (event(timestamp="1969-12-31T23:59:59.5Z"), True),
    "timestamp as a number": (event(timestamp=1710498600), False),
}


@pytest.mark.parametrize("name", CORNERS)
def test_a_corner_case_is_judged_as_the_model_judges_it(name: str) -> None:
    """Each verdict is the expected one, and both ways give the same rows and findings, among good rows too."""
    document, is_valid = CORNERS[name]
    batch = [event(), document, event(timestamp="2024-03-15T10:30:00+05:30"), document]
    ours = judge(batch, smallest_pass=1)
    theirs = judge_by_model(batch, VisitEvent, SCHEMAS["visit_event"])
    assert ours.indexes.to_list() == theirs.indexes.to_list() == ([0, 1, 2, 3] if is_valid else [0, 2])
    assert ours.frame.schema == SCHEMAS["visit_event"]
    assert ours.frame.equals(theirs.frame)
    assert json.dumps([found.errors for found in ours.findings]) == json.dumps(
        [found.errors for found in theirs.findings]
    )


def test_values_arrive_in_their_columns() -> None:
    """A certified row has the values and types the checkpoint stores."""
    document = event(timestamp="2024-03-15T23:30:00.25-05:00", module=None)
    assert certified(document) == [0]
    row = judge([document], smallest_pass=1).frame.row(0, named=True)
    expected = {
        **EVENT,
        "visit_date": date(2024, 3, 15),
        "module": None,
        "timestamp": datetime(2024, 3, 16, 4, 30, 0, 250_000, tzinfo=UTC),
    }
    assert row == expected


def test_malformed_json_is_told_from_a_record_that_breaks_the_schema() -> None:
    """The reason says which; the errors are Pydantic's, with its own locations, and JSON can carry them."""
    findings = judge([b"\xff{", event(ptid="bad!", pipeline_adcid=float("nan")), event()]).findings
    assert [(found.index, found.reason) for found in findings] == [(0, "malformed-json"), (1, "invalid-record")]
    assert [(each["type"], each["loc"]) for each in findings[1].errors] == [
        ("finite_number", ("pipeline_adcid",)),
        ("string_pattern_mismatch", ("ptid",)),
    ]
    assert set(findings[1].errors[0]) == {"type", "loc", "msg", "input"}
    json.dumps([found.errors for found in findings], allow_nan=False)


def test_no_documents_give_an_empty_frame_with_all_columns() -> None:
    """Nothing in, nothing out, and the schema still stands."""
    judged = judge([])
    assert judged.frame.schema == SCHEMAS["visit_event"]
    assert (judged.frame.height, len(judged.indexes), judged.findings) == (0, 0, [])
    assert judged.indexes.dtype == pl.UInt32


def test_an_unknown_record_is_refused() -> None:
    """A name without a schema is an error of the caller."""
    with pytest.raises(KeyError):
        judge([event()], "no_such_record")


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_ordinary_rows_are_certified_in_any_order_of_fields(separators: tuple[str, str]) -> None:
    """Spaced or compact, whatever the order, with optional fields there, null or absent: the fast path proves it."""
    for order in rotations():
        for changes in ({}, {"module": None}, {"module": None, "packet": None}, {"pipeline_adcid": "7"}):
            row = {**EVENT, **changes}
            document = json.dumps({key: row[key] for key in order}, separators=separators).encode()
            assert certified(document) == [0], document
    for name in ("study", "module", "packet"):
        assert certified(without(name)) == [0]


def rotations() -> list[list[str]]:
    keys = list(EVENT)
    return [keys[place:] + keys[:place] for place in range(len(keys))] + [keys[::-1], sorted(keys)]


@pytest.mark.parametrize(
    "extra", ["text", "", "with, comma", 5, -5, 0, 1.5, True, False, None, 123_456_789_012_345_678]
)
def test_rows_with_unknown_scalar_fields_are_certified(extra: object) -> None:
    """A producer may add plain fields without falling off the fast path."""
    assert certified(event(extra=extra, other_1="x")) == [0]
    assert certified(json.dumps({"extra": extra, **EVENT}).encode()) == [0]


@pytest.mark.parametrize(
    "timestamp", ["2024-03-15T10:30:00", "2024-03-15T10:30:00.123456+00:00", "2024-03-15T10:30:00.123Z"]
)
def test_usual_timestamps_are_certified(timestamp: str) -> None:
    """Naive, with an offset or in UTC, with or without a fraction."""
    assert certified(event(timestamp=timestamp)) == [0]


def bulk(rows: int) -> list[bytes]:
    return [
        event(ptid=f"P{row:07d}", visit_number=f"{row % 12:02d}", pipeline_adcid=row % 90 + 1, module=MODULES[row % 3])
        for row in range(rows)
    ]


MODULES = ["UDS", "LBD", None]


def test_a_full_batch_is_certified_but_for_its_bad_rows() -> None:
    """With default settings Pydantic sees only what is bad: the fast path cannot die unnoticed."""
    documents = bulk(5_000)
    for row in range(0, 5_000, 100):
        documents[row] = [b"{", event(ptid="bad!"), event(visit_date="2023-02-30"), event(module=5)][row // 100 % 4]
    certifier = Certifier(VisitEvent, SCHEMAS["visit_event"])
    assert certifier.certify(documents).indexes.to_list() == [row for row in range(5_000) if row % 100]
    assert certifier.certify(documents[1:100]).indexes.to_list() == []


def test_several_producers_in_one_batch_are_all_certified() -> None:
    """Each layout with enough rows gets its own pass, and rows come back in the order they came."""
    documents = bulk(6_000)
    for row in range(6_000):
        value = json.loads(documents[row])
        if row % 3 == 1:
            documents[row] = json.dumps(value, separators=(",", ":")).encode()
        elif row % 3 == 2:
            documents[row] = json.dumps({key: value[key] for key in reversed(value) if key != "study"}).encode()
    assert Certifier(VisitEvent, SCHEMAS["visit_event"]).certify(documents).indexes.to_list() == list(range(6_000))
    ours, theirs = judge(documents), judge_by_model(documents, VisitEvent, SCHEMAS["visit_event"])
    assert ours.frame.equals(theirs.frame)


def test_blocks_join_without_a_seam() -> None:
    """Rows, positions and findings of several blocks are those of the whole, and look-ups outlive a block."""
    documents = bulk(2 * BLOCK_ROWS + 1_500)
    documents[BLOCK_ROWS] = b"{"
    documents[-1] = event(ptid="bad!")
    documents[BLOCK_ROWS - 1] = event(center_label='quo"ted')
    ours, theirs = judge(documents), judge_by_model(documents, VisitEvent, SCHEMAS["visit_event"])
    assert ours.frame.equals(theirs.frame)
    assert ours.indexes.equals(theirs.indexes)
    assert [found.index for found in ours.findings] == [BLOCK_ROWS, len(documents) - 1]
