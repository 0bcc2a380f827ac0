"""Documents: every record to the letter, on one line, in any layout; and nothing of a broken one passes for whole."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.http.answers import BrokenAnswerError
from services.runtime.http.documents import Number, bytes_of, visit_records

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a{}[],:"\\\n\r é🙂'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "}", "data"]), inner, max_size=3),
    max_leaves=6,
)
spaces = st.sampled_from(["", "", "", "\n", " ", "\r\n", "\t"])


def written(value: Any, draw: Any) -> str:
    """A value as JSON with spaces and newlines wherever they may stand."""
    match value:
        case dict():
            members = [f"{draw(spaces)}{json.dumps(k)}{draw(spaces)}:{written(v, draw)}" for k, v in value.items()]
            text = "{" + ",".join(members) + draw(spaces) + "}"
        case list():
            text = "[" + ",".join(written(item, draw) for item in value) + draw(spaces) + "]"
        case _:
            text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return f"{draw(spaces)}{text}{draw(spaces)}"


def read(body: bytes, member: str | None = None) -> tuple[list[bytes], dict[str, Any]]:
    """The lines of an answer and its other members."""
    lines: list[bytes] = []
    others = visit_records(body, member, lambda _, line: lines.append(bytes_of(line)))
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    return lines, others


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(values, max_size=5), others=st.dictionaries(st.sampled_from(["a", "b"]), values), data=st.data()
)
def test_any_layout_means_the_same(records: list[Any], others: dict[str, Any], data: st.DataObject) -> None:
    """Wherever a document has spaces and newlines, its records and members are those that a JSON parser reads."""
    document = {**others, "data": records}
    names = data.draw(st.permutations(sorted(document)))
    body = written({name: document[name] for name in names}, data.draw).encode()
    lines, found = read(body, "data")
    assert [json.loads(line) for line in lines] == records
    assert set(found) == set(others)
    lines, found = read(written(records, data.draw).encode())
    assert ([json.loads(line) for line in lines], found) == (records, {})


@settings(max_examples=40, deadline=None)
@given(records=st.lists(values, max_size=4))
def test_no_part_of_a_document_is_a_whole_one(records: list[Any]) -> None:
    """A document that is cut anywhere is broken."""
    whole = json.dumps({"data": records, "next_cursor": None}).encode()
    for end in range(len(whole)):
        with pytest.raises(BrokenAnswerError):
            read(whole[:end], "data")


@pytest.mark.parametrize(
    "record",
    [
        '{"a":1.10,"b":12345678901234567890.123,"c":1e400,"d":-0.0,"e":1E+2}',
        '{"a":' + "9" * 5_000 + "}",
        '{"z":1,"a":2,"z":3}',
        '{ "a" : "\\u00e9\\/ \\n" }',
        "null",
        "[1, 2]",
        '"text"',
    ],
)
def test_records_keep_their_spelling(record: str) -> None:
    """What a parser would round, respell, reorder or refuse comes back as it was given."""
    assert read(f'{{"n":{record},"data":[{record} , {record}]}}'.encode(), "data")[0] == [record.encode()] * 2


def test_only_lines_that_break_are_joined() -> None:
    """A record over several lines loses the spaces between its tokens and none inside of them."""
    body = b'[{\r\n  "a b" : "c\\"  d",\n  "e": [ 1.0, 2 ]\n}]'
    assert read(body)[0] == [b'{"a b":"c\\"  d","e":[1.0,2]}']


def test_bytes_that_are_not_text() -> None:
    """Bytes that are no UTF-8 are for the validator to judge, and a byte order mark is no part of the answer."""
    assert read(b'\xef\xbb\xbf[{"a":"\xff"}]')[0] == [b'{"a":"\xff"}']


def test_numbers_are_told_from_text() -> None:
    """A parsed record has its numbers as they are written."""
    seen: list[Any] = []
    visit_records(b'[{"a": 1.0, "b": "1.0"}]', None, lambda record, _: seen.append(record))
    assert seen == [{"a": "1.0", "b": "1.0"}]
    assert [isinstance(value, Number) for value in seen[0].values()] == [True, False]


@pytest.mark.parametrize(
    ("body", "member", "words"),
    [
        (b"", None, r"no '\[' at 0"),
        (b"{}", None, r"no '\[' at 0"),
        (b"[1,]", None, "Expecting value"),
        (b"[1 2]", None, "no ',' at 3"),
        (b"[1] x", None, "after the answer's end at 3"),
        (b"[]", "data", "no '{' at 0"),
        (b"{}", "data", "no member 'data'"),
        (b'{"items":[]}', "data", "no member 'data'"),
        (b'{"data":[],}', "data", "no name of a member at 11"),
        (b'{"data":[] "a":1}', "data", "no ',' at 11"),
        (b'{"data" []}', "data", "no ':' at 8"),
        (b'{1:2,"data":[]}', "data", "no name of a member at 1"),
        (b'{"data":[],"data":[]}', "data", "'data' is there twice"),
        (b'{"data":null}', "data", r"no '\[' at 8"),
        (b"[" * 100_000, None, "nested too deeply"),
    ],
)
def test_broken(body: bytes, member: str | None, words: str) -> None:
    """Whatever is not one document of the declared shape is broken, and the error says where."""
    with pytest.raises(BrokenAnswerError, match=words):
        read(body, member)
