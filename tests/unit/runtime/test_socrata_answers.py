"""Answers: every row of a whole one, in any layout and to the letter, and none of a broken one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.sources import SocrataSource
from services.runtime.datasets import Block, Position, position_of
from services.runtime.failures import PermanentError
from services.runtime.http.answers import BrokenAnswerError, message_of
from services.runtime.socrata.answers import block_of, rows_of

KEY = "unique_key"
SOURCE = SocrataSource(kind="socrata", dataset="erm2-nwe9", cursor="created_date", unique_key=KEY)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a{}[],:"\\\n é🙂'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "}", KEY]), inner, max_size=3),
    max_leaves=6,
)
rows_ = st.lists(st.dictionaries(st.sampled_from(["a", "b,{", KEY]), values, max_size=3), max_size=5)
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


def in_lines(rows: list[dict[str, Any]], before_end: str = "") -> bytes:
    """Rows as Socrata writes them."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    return ("[" + "\n,".join(lines) + before_end + "]\n").encode()


def read(block: Block) -> list[Any]:
    """The rows of a block, which must be whole lines."""
    lines = block.lines.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == block.rows
    return [json.loads(line) for line in lines]


@settings(max_examples=300, deadline=None)
@given(rows=rows_, data=st.data())
def test_any_layout_means_the_same(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Wherever an array has spaces and newlines, its rows are those that a JSON parser reads."""
    body = written(rows, data.draw).encode()
    assert read(block_of(body, KEY)) == json.loads(body) == rows_of(body)


@given(rows=rows_, before_end=st.sampled_from(["", "\n"]))
def test_rows_in_lines_are_not_rewritten(rows: list[dict[str, Any]], before_end: str) -> None:
    """Rows that stand on a line each come back byte by byte."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows]
    assert block_of(in_lines(rows, before_end), KEY) == Block(b"".join(lines), len(rows))


@settings(max_examples=60, deadline=None)
@given(rows=rows_, one_line=st.booleans())
def test_no_part_of_an_answer_counts(rows: list[dict[str, Any]], one_line: bool) -> None:  # noqa: FBT001 - drawn
    """A body that is cut anywhere is broken; none of its rows is given."""
    body = json.dumps(rows).encode() if one_line else in_lines(rows).strip()
    for end in range(len(body)):
        with pytest.raises(BrokenAnswerError):
            block_of(body[:end], KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"]",
        b"[1]",
        b"[[]]",
        b'["a"]',
        b"[{}",
        b"[{}{}]",
        b"[{},]",
        b"[,{}]",
        b"[{} {}]",
        b"[{}]]",
        b"[{}][{}]",
        b'[{"unique_key":"1"}\n{"unique_key":"2"}]',
        b'[{"unique_key":"1"}\n,]',
        b'[{"unique_key":"1"}\n,{"unique_key":"2]',
        b'[{"unique_key":"1"}\n,{"unique_key":"2","a":"}]',
        b"[" * 100_000 + b"]" * 100_000,
        b"<html>[]</html>",
    ],
)
def test_broken(body: bytes) -> None:
    """Whatever is not an array of objects and nothing else is broken."""
    with pytest.raises(BrokenAnswerError):
        block_of(body, KEY)


@pytest.mark.parametrize("body", [b"[]", b"[]\n", b" [ \n ] ", b"[\n]"])
def test_no_rows(body: bytes) -> None:
    """An empty array is a block without rows, not a broken answer."""
    assert block_of(body, KEY) == Block(b"", 0)
    assert block_of(body, KEY).last_line == b""


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'[{"unique_key":"1","a":[{"b":1}\n,{"c":2}]}\n,{"unique_key":"2"}]', 2),
        (b'[{"unique_key":"1","a":[{"b":1}\n,{"c":2}]},{"unique_key":"2"}\n,{"unique_key":"3"}]', 3),
        (b'[{"unique_key":"1"},{"unique_key":"2"}\n,{"unique_key":"3"}]', 3),
        (b'[{"unique_key":"1"}\r\n,{"unique_key":"2"}]', 2),
        (b'[{"unique_key":"1"},\n{"unique_key":"2"}]', 2),
    ],
    ids=["newline inside", "newline inside and two a line", "two a line", "other newlines", "comma first"],
)
def test_lines_that_are_not_rows(body: bytes, lines: int) -> None:
    """Lines that look like rows and are not do not become rows."""
    assert read(block_of(body, KEY)) == json.loads(body)
    assert block_of(body, KEY).rows == lines


def test_numbers_keep_their_spelling() -> None:
    """What a parser would round or respell comes back as it was given, in any layout."""
    row = b'{"unique_key":"1","a":1.10,"b":12345678901234567890.123,"c":1e400,"d":"\\u00e9\\/"}'
    for body in (b"[" + row + b"]", b"[ " + row + b" , " + row + b"]"):
        assert block_of(body, KEY).lines in {row + b"\n", (row + b"\n") * 2}


def test_bytes_that_are_not_text() -> None:
    """Bytes that are no UTF-8 are for the validator to judge; they pass in any layout."""
    row = b'{"unique_key":"1","a":"\xff"}'
    for between in (b"\n,", b","):
        assert block_of(b"[" + row + between + row + b"]", KEY) == Block((row + b"\n") * 2, 2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message":"No such\\n  column"}', "No such column"),
        (b'{"message":""}', '14 bytes: {"message":""}'),
        (b'{"message":7}', '13 bytes: {"message":7}'),
        (b"[1]", "3 bytes: [1]"),
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"\xff<html>", "7 bytes: \N{REPLACEMENT CHARACTER}<html>"),
        (b"x" * 9_999, f"9999 bytes: {'x' * 500}…"),
    ],
)
def test_what_a_source_says(body: bytes, words: str) -> None:
    """A refusal's own message, or the beginning of whatever came instead, in one line."""
    assert message_of(body) == words


def test_position() -> None:
    """A row stands at its cursor and its key, to the letter."""
    line = '{"unique_key":"7","created_date":" 2026-08-01T00:00:14.000","a":"é"}'.encode()
    assert position_of(line, SOURCE) == Position(" 2026-08-01T00:00:14.000", "7")
    assert position_of(Block(b"{}\n" + line + b"\n", 2).last_line, SOURCE).key == "7"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"unique_key":"7"}', "created_date"),
        (b'{"created_date":"x"}', "unique_key"),
        (b'{"created_date":"x","unique_key":7}', "unique_key"),
        (b'{"created_date":null,"unique_key":"7"}', "created_date"),
        (b"[]", "object"),
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_no_position(line: bytes, words: str) -> None:
    """A row without a cursor or a key that is text stands nowhere, and the error says what is missing."""
    with pytest.raises(PermanentError, match=f"erm2-nwe9.*{words}"):
        position_of(line, SOURCE)
