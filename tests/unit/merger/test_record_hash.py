"""The hash of a record is that of its canonical form, which a plain reading of docs/bronze.md gives as well."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from hashlib import md5
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.fields import EntityField, TypeParts
from services.merger.adapters.types import arrow_type
from services.merger.core.canonical import canonical_forms
from services.merger.core.record_hash import digests_of_text, record_digests, text_of

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of timestamps without zone
MICROSECOND = timedelta(microseconds=1)
CLASSES = {
    "string": "s",
    "binary": "x",
    "boolean": "b",
    "date": "D",
    "time_us": "T",
    "timestamp_us": "t",
    "timestamp_us_utc": "z",
    "decimal": "d",
} | dict.fromkeys(("int16", "int32", "int64"), "i")
CLASSES |= dict.fromkeys(("float32", "float64"), "f")


def class_of(type_: str) -> str:
    """The letters of a type in a header."""
    parts = TypeParts.of(type_)
    return "[" + class_of(parts.item) if parts.item else CLASSES[parts.name]


def cell(number: int) -> bytes:
    """A number in eight bytes."""
    return struct.pack("<q", number)


def encoded(type_: str, value: Any) -> tuple[bytes, bytes]:
    """Cell and text of a value."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        text = cell(len(value))
        for element in value:
            text += b"\0" if element is None else b"\1" + b"".join(encoded(parts.item, element))
    elif parts.name == "string":
        text = value.encode()
    elif parts.name == "binary":
        text = value
    elif parts.name == "decimal":
        text = shortest(value).encode()
    elif parts.name.startswith("float"):
        return (bytes.fromhex("000000000000f87f") if value != value else struct.pack("<d", value + 0.0)), b""  # noqa: PLR0124 - NaN
    else:
        return cell(number_of(value)), b""
    return cell(len(text)), text


def shortest(value: Decimal) -> str:
    """The shortest decimal notation."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def number_of(value: Any) -> int:
    """What stands for an integer, a boolean or a time."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - EPOCH) // MICROSECOND
    if isinstance(value, date):
        return (value - EPOCH.date()).days
    if isinstance(value, time):
        return (datetime.combine(EPOCH.date(), value) - EPOCH) // MICROSECOND
    return int(value)


def canonical(fields: Sequence[EntityField], record: Mapping[str, Any]) -> bytes:
    """The canonical form of one record, without haste."""
    present = sorted((f for f in fields if record[f.name] is not None), key=lambda f: f.name.encode())
    head = b"%d;" % len(present)
    for field in present:
        name = field.name.encode()
        head += b"%d:%s=%s;" % (len(name), name, class_of(field.type).encode())
    while len(head) % 64:
        head += b"\0"
    values = [encoded(field.type, record[field.name]) for field in present]
    return head + b"".join(each for each, _ in values) + b"".join(text for _, text in values)


def table_of(fields: Sequence[EntityField], records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The records as Arrow has them."""
    return pa.table({f.name: pa.array([r[f.name] for r in records], arrow_type(f.type)) for f in fields})


def hashes(fields: Mapping[str, str], *records: Mapping[str, Any]) -> list[str]:
    """The hash of each record, by names and types of its fields."""
    typed = [EntityField(name=name, type=type_) for name, type_ in fields.items()]
    return list(text_of(record_digests(table_of(typed, records), typed)).to_pylist())


def integers(bits: int) -> st.SearchStrategy[int]:
    """Integers of that many bits."""
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    """Decimals of that shape; also tiny ones, and those with zeros at their end."""
    digits = st.integers(0, 10**precision - 1) | st.integers(0, 200) | st.integers(0, 9).map(lambda n: n * 10**scale)
    return st.tuples(st.sampled_from([1, -1]), digits.filter(lambda n: n < 10**precision)).map(
        lambda pair: Decimal(pair[0] * pair[1]).scaleb(-scale)
    )


VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=9),
    "binary": st.binary(max_size=9),
    "boolean": st.booleans(),
    "int16": integers(16),
    "int32": integers(32),
    "int64": integers(64),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "date": st.dates(),
    "time_us": st.times(),
    "timestamp_us": st.datetimes(),
    "timestamp_us_utc": st.datetimes(timezones=st.just(UTC)),
    "decimal(12,2)": decimals(12, 2),
    "decimal(20,0)": decimals(20, 0),
    "decimal(28,18)": decimals(28, 18),
    "decimal(9,9)": decimals(9, 9),
}
TYPES = [*VALUES, *(f"list<{type_}>" for type_ in VALUES)]


def values_of(type_: str) -> st.SearchStrategy[Any]:
    """Values of a type, null among them."""
    item = TypeParts.of(type_).item
    own = st.lists(st.none() | VALUES[item], max_size=4) if item else VALUES[type_]
    return st.none() | own


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[EntityField], list[dict[str, Any]]]:
    """Some fields and some records that have them."""
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=6))
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=len(types), max_size=len(types), unique=True))
    fields = [EntityField(name=name, type=type_) for name, type_ in zip(names, types, strict=True)]
    records = st.fixed_dictionaries({field.name: values_of(field.type) for field in fields})
    return fields, draw(st.lists(records, min_size=1, max_size=6))


@settings(max_examples=50, deadline=None)
@given(tables(), st.integers(0, 3))
def test_it_is_what_a_plain_reading_gives(drawn: tuple[list[EntityField], list[dict[str, Any]]], skip: int) -> None:
    """Columns at once give the same forms and hashes as records one by one, in slices of a table, too."""
    fields, records = drawn
    rows = table_of(fields, records).slice(min(skip, len(records)))
    expected = [canonical(fields, record) for record in records[skip:]]
    assert canonical_forms(rows, fields) == expected
    assert text_of(record_digests(rows, fields)).to_pylist() == [md5(form).hexdigest() for form in expected]  # noqa: S324 - as specified


@pytest.mark.parametrize("type_", TYPES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_every_type_by_itself(type_: str, data: st.DataObject) -> None:
    """Each type's values are written as the specification says."""
    fields = [EntityField(name="v", type=type_)]
    records = [{"v": value} for value in data.draw(st.lists(values_of(type_), min_size=1, max_size=5))]
    assert canonical_forms(table_of(fields, records), fields) == [canonical(fields, record) for record in records]


def test_the_same_record_has_one_hash() -> None:
    """Neither the order of columns, nor an integer's width, nor a decimal's scale, nor an empty column matters."""
    one = hashes({"id": "int16", "amount": "decimal(12,2)"}, {"id": 7, "amount": Decimal("1.50")})
    assert one == hashes({"amount": "decimal(38,18)", "id": "int64"}, {"id": 7, "amount": Decimal("1.5")})
    assert one == hashes(
        {"id": "int32", "amount": "decimal(12,2)", "note": "string"}, {"id": 7, "amount": Decimal("1.5"), "note": None}
    )
    assert hashes({"f": "float32"}, {"f": 0.1}) != hashes({"f": "float64"}, {"f": 0.1})  # not the same number
    assert hashes({"f": "float32"}, {"f": 0.5}) == hashes({"f": "float64"}, {"f": 0.5})
    assert len(set(hashes({"f": "float64"}, {"f": 0.0}, {"f": -0.0}))) == 1
    assert len(set(hashes({"f": "float64"}, {"f": float("nan")}, {"f": -float("nan")}))) == 1


def test_different_records_have_different_hashes() -> None:
    """Values that would be equal if they were only written one after the other are told apart."""
    texts = {"a": "string", "b": "string"}
    several = [("x", "yz"), ("xy", "z"), ("xyz", ""), ("", "xyz"), ("xyz", None), (None, "xyz"), (None, None)]
    assert len(set(hashes(texts, *({"a": a, "b": b} for a, b in several)))) == len(several)
    lists: list[list[str | None]] = [[], [None], [""], ["a", "b"], ["ab"], ["a", None, "b"]]
    assert len(set(hashes({"l": "list<string>"}, *({"l": each} for each in lists)))) == len(lists)
    assert hashes({"a": "int64"}, {"a": 1}) != hashes({"b": "int64"}, {"b": 1})
    assert hashes({"a": "string"}, {"a": "1"}) != hashes({"a": "int64"}, {"a": 1})


def test_the_example_of_the_documentation() -> None:
    """The worked example holds."""
    fields = [
        EntityField(name="order_id", type="int64"),
        EntityField(name="amount", type="decimal(12,2)"),
        EntityField(name="note", type="string"),
        EntityField(name="paid", type="boolean"),
    ]
    record = {"order_id": 7, "amount": Decimal("1.50"), "note": None, "paid": True}
    form = canonical_forms(table_of(fields, [record]), fields)[0]
    head = b"3;6:amount=d;8:order_id=i;4:paid=b;"
    assert form == head + bytes(64 - len(head)) + cell(3) + cell(7) + cell(1) + b"1.5"
    assert text_of(record_digests(table_of(fields, [record]), fields)).to_pylist() == [
        "ceb66b79329053c6cd228ce1989ed674"
    ]


def test_hexadecimal_digits_are_read_back() -> None:
    """What bronze has as text is the digest again, also of a slice."""
    fields = [EntityField(name="n", type="int64")]
    digests = record_digests(table_of(fields, [{"n": n} for n in range(5)]), fields)
    texts = pa.chunked_array([text_of(digests.slice(0, 2)), text_of(digests.slice(2))])
    assert digests_of_text(texts.slice(1)).equals(digests.slice(1))
