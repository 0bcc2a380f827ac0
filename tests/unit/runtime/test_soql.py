"""Queries: exactly what is asked, and that no value of a row can change what is asked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.fetching import KeyRange
from contracts.sources import SocrataSource
from services.runtime.datasets import Position
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.socrata.soql import Params, Soql, literal, midnight_after

SOURCE = SocrataSource(
    kind="socrata", dataset="erm2-nwe9", where="status in ('Open')", cursor="created_date", unique_key="unique_key"
)
SOQL = Soql(SOURCE)
A, B, C = "2026-08-01T00:00:14.000", "2026-08-02T00:00:00.000", "2026-08-01T12:00:00.000"
AFTER_C = f"(created_date > '{C}' or (created_date = '{C}' and unique_key > '7'))"

_TOKENS = re.compile(r"'(?:[^']|'')*'|[A-Za-z_:@][\w:@]*|>=|<=|[<>=(),]|\s+")
"""Of what queries are made here; a quote that does not close is no token."""


def tokens(text: str) -> list[str]:
    """The tokens of a clause without its spaces.

    Raises:
        ValueError: it is not made of tokens.
    """
    found, place = [], 0
    while place < len(text):
        match = _TOKENS.match(text, place)
        if match is None:
            raise ValueError(f"{text[place:]!r} begins no token")
        found.append(match.group().strip())
        place = match.end()
    return [token for token in found if token]


def value_of(token: str) -> str:
    """The text that a source reads from a literal."""
    return token[1:-1].replace("''", "'")


anything = st.text(max_size=8) | st.text(st.sampled_from("'\"`\\()-; %_$&=+#\n\0aé🙂"), max_size=12)


@given(start=anything, end=anything, last=st.tuples(anything, anything))
def test_no_value_breaks_out(start: str, end: str, last: tuple[str, str]) -> None:
    """Whatever cursors and keys hold, the query has the same tokens, and its literals are those values."""
    plain = [KeyRange(start="a", before="b"), KeyRange(start="a", to="a", after_key="b", to_key="c")]
    odd = [KeyRange(start=start, before=end), KeyRange(start=start, to=start, after_key=end, to_key=last[1])]
    values = [["Open", start, end, last[0], last[0], last[1]], ["Open", start, end, last[1], last[0], last[0], last[1]]]
    for ordinary, strange, expected in zip(plain, odd, values, strict=True):
        usual = tokens(SOQL.page(ordinary, Position("d", "e"), 7)["$where"])
        found = tokens(SOQL.page(strange, Position(*last), 7)["$where"])
        assert [t[0] if t[0] == "'" else t for t in found] == [t[0] if t[0] == "'" else t for t in usual]
        assert [value_of(token) for token in found if token[0] == "'"] == expected


@given(value=anything)
def test_a_literal_is_one_token(value: str) -> None:
    """A quoted value is one literal, and reads as the value."""
    (token,) = tokens(literal(value))
    assert value_of(token) == value


def test_half_a_character() -> None:
    """Text that no request can carry is refused as what it is."""
    with pytest.raises(PermanentError, match="ud800"):
        literal("a\ud800")


@pytest.mark.parametrize(
    ("within", "after", "where"),
    [
        (KeyRange(start=A, before=B), None, f"created_date >= '{A}' and created_date < '{B}'"),
        (KeyRange(start=A, to=B), None, f"created_date >= '{A}' and created_date <= '{B}'"),
        (KeyRange(start=A, to=A), None, f"created_date = '{A}'"),
        (
            KeyRange(start=A, to=A, after_key="k1", to_key="k'2"),
            None,
            f"created_date = '{A}' and unique_key > 'k1' and unique_key <= 'k''2'",
        ),
        (
            KeyRange(start=A, before=B),
            Position(C, "7"),
            f"created_date >= '{A}' and created_date < '{B}' and {AFTER_C}",
        ),
    ],
)
def test_pages(within: KeyRange, after: Position | None, where: str) -> None:
    """A page is a range, the position it comes after, and the declared condition between parentheses."""
    assert SOQL.page(within, after, 2_000) == {
        "$where": f"(status in ('Open')) and {where}",
        "$order": "created_date,unique_key",
        "$limit": "2000",
    }


def test_counts() -> None:
    """Counts are grouped by names of their own and always say how many groups they want."""
    day = "date_trunc_ymd(created_date)"
    common = {"$group": "tally_value", "$order": "tally_value", "$limit": "50000"}
    within = KeyRange(start=A, before=B)
    assert SOQL.days(within, C) == common | {
        "$select": f"{day} as tally_value,count(*) as tally_rows",
        "$where": f"(status in ('Open')) and created_date >= '{A}' and created_date < '{B}' and created_date >= '{C}'",
    }
    assert SOQL.cursors(within, C) == common | {
        "$select": "created_date as tally_value,count(*) as tally_rows",
        "$where": f"(status in ('Open')) and created_date >= '{A}' and created_date < '{B}' and created_date > '{C}'",
    }


@pytest.mark.parametrize("where", ["", "  "])
def test_no_condition(where: str) -> None:
    """Without a declared condition there are only those of the range, or none at all."""
    soql = Soql(SOURCE.model_copy(update={"where": where}))
    assert soql.newest() == {"$select": "max(created_date) as tally_value", "$limit": "1"}
    assert soql.key_at(A, None, 9)["$where"] == f"created_date = '{A}'"
    assert SOQL.newest()["$where"] == "(status in ('Open'))"


def test_keys() -> None:
    """A step of keys starts at the last key and skips the rows between."""
    assert SOQL.key_at(A, "k'1", 9) == {
        "$select": "unique_key",
        "$where": f"(status in ('Open')) and created_date = '{A}' and unique_key > 'k''1'",
        "$order": "unique_key",
        "$limit": "1",
        "$offset": "9",
    }


@pytest.mark.parametrize(
    "where",
    ["a) or (b", "(a", "a)", "a = 'b", 'a = "b', "`a", "a = 'it's'", "'a') or ('b'", "a = '(' ) or ( b"],
)
def test_a_condition_that_is_not_closed(where: str) -> None:
    """A condition that would reach over the parentheses around it is refused with the dataset's name."""
    with pytest.raises(BadDeclarationError, match="erm2-nwe9: where"):
        Soql(SOURCE.model_copy(update={"where": where}))


@pytest.mark.parametrize("where", ["a = ')' or b = '('", "(a) or (b)", "a = 'it''s (' and (b)", '`odd ( name` = ")"'])
def test_a_condition_that_is_closed(where: str) -> None:
    """Parentheses in pairs and those inside of quotes are a condition's own."""
    assert Soql(SOURCE.model_copy(update={"where": where})).newest()["$where"] == f"({where})"


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a'", "1a", "a)", "at\n", "a,b"])
@pytest.mark.parametrize("field", ["cursor", "unique_key"])
def test_what_is_not_a_name(field: str, name: str) -> None:
    """A declared column that is not the name of one is refused with its field."""
    with pytest.raises(BadDeclarationError, match=field):
        Soql(SOURCE.model_copy(update={field: name}))


@pytest.mark.parametrize("name", [":created_at", ":id", ":@computed_region_efsh_h5xi", "_a1"])
def test_names(name: str) -> None:
    """System columns and computed ones are names, too."""
    params: Params = Soql(SOURCE.model_copy(update={"cursor": name})).page(KeyRange(start=A, to=A), None, 1)
    assert params["$order"] == f"{name},unique_key"


@pytest.mark.parametrize(
    ("day", "after"),
    [
        ("2026-08-01T00:00:00.000", "2026-08-02T00:00:00.000"),
        ("2024-02-28T00:00:00.000", "2024-02-29T00:00:00.000"),
        ("2026-12-31T23:59:59.999", "2027-01-01T00:00:00.000"),
        ("2026-03-08", "2026-03-09T00:00:00.000"),
        ("9999-12-31T00:00:00.000", None),
    ],
)
def test_the_midnight_after(day: str, after: str | None) -> None:
    """The day after begins at midnight, by the calendar and without a zone."""
    assert midnight_after(day) == after
