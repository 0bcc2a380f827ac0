"""The rules by which a changed contract is refused: the new schema must read what the old one allowed."""

from typing import Any

import pytest

from contracts.compatibility import incompatibilities

Schema = dict[str, Any]


def document(
    properties: Schema, *, required: tuple[str, ...] = (), version: int = 1, defs: Schema | None = None
) -> Schema:
    return {
        "schema_version": version,
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        "$defs": defs or {},
    }


def changed(before: Schema, after: Schema) -> list[str]:
    """Findings when one optional field changes from ``before`` to ``after``."""
    return incompatibilities("Thing", document({"field": before}), document({"field": after}))


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
NOTHING: Schema = {"type": "null"}


def test_an_unchanged_contract_is_compatible() -> None:
    """Comparing a document with itself finds nothing."""
    same = document({"a": TEXT, "b": {"type": "array", "items": NUMBER}}, required=("a",))
    assert incompatibilities("Thing", same, same) == []


def test_a_new_optional_field_is_compatible() -> None:
    """Old messages lack the field, and the new consumer has a default for it."""
    assert incompatibilities("Thing", document({"a": TEXT}), document({"a": TEXT, "b": NUMBER})) == []


def test_a_removed_field_is_refused() -> None:
    """Consumers of the previous release may still require it."""
    assert incompatibilities("Thing", document({"a": TEXT, "b": TEXT}), document({"a": TEXT})) == [
        "Thing: b was removed without a higher schema_version than 1"
    ]


def test_a_new_required_field_is_refused() -> None:
    """No old message has it."""
    (finding,) = incompatibilities("Thing", document({}), document({"a": TEXT}, required=("a",)))
    assert finding.startswith("Thing: a is new and required")


def test_a_field_that_becomes_required_is_refused() -> None:
    """Old messages may leave it out."""
    (finding,) = incompatibilities("Thing", document({"a": TEXT}), document({"a": TEXT}, required=("a",)))
    assert finding.startswith("Thing: a is newly required")


def test_a_field_that_becomes_optional_is_compatible() -> None:
    """Old messages all have it."""
    assert incompatibilities("Thing", document({"a": TEXT}, required=("a",)), document({"a": TEXT})) == []


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        (TEXT, NUMBER, "field no longer accepts string, only integer"),
        ({"type": "number"}, NUMBER, "field no longer accepts number, only integer"),
        ({}, TEXT, "field no longer accepts anything, only string"),
        ({"enum": ["a", "b"], "type": "string"}, {"enum": ["a"], "type": "string"}, "field no longer accepts 'b'"),
        ({"enum": ["a", "b"]}, {"const": "a"}, "field no longer accepts 'b'"),
        (TEXT, {"enum": ["a"], "type": "string"}, "field is newly restricted to ['a']"),
        ({"anyOf": [TEXT, NOTHING]}, TEXT, "field no longer accepts null, only string"),
        ({"anyOf": [TEXT, NOTHING]}, {"anyOf": [TEXT, NUMBER]}, "field no longer accepts null, only integer, string"),
        (TEXT, {"type": "string", "maxLength": 10}, "field is narrower: at most 10 (maxLength)"),
        ({"type": "string", "maxLength": 10}, {"type": "string", "maxLength": 9}, "field is narrower: at most 9"),
        (TEXT, {"type": "string", "minLength": 1}, "field is narrower: at least 1 (minLength)"),
        ({**NUMBER, "minimum": 0}, {**NUMBER, "exclusiveMinimum": 0}, "field is narrower: at least 1 (minimum)"),
        ({**NUMBER, "maximum": 9}, {**NUMBER, "exclusiveMaximum": 9}, "field is narrower: at most 8 (maximum)"),
        (TEXT, {"type": "string", "pattern": "^a$"}, "field has another pattern"),
        ({**TEXT, "pattern": "a"}, {**TEXT, "pattern": "b"}, "field has another pattern"),
        (TEXT, {"type": "string", "format": "date-time"}, "field has another format"),
        (
            {"type": "array", "items": TEXT},
            {"type": "array", "items": NUMBER},
            "field[] no longer accepts string, only integer",
        ),
        ({"type": "array"}, {"type": "array", "items": TEXT}, "field[] no longer accepts anything, only string"),
        (
            {"type": "array", "prefixItems": [NUMBER, NUMBER]},
            {"type": "array", "prefixItems": [NUMBER, TEXT]},
            "field[1] no longer accepts integer, only string",
        ),
        (
            {"type": "object", "additionalProperties": TEXT},
            {"type": "object", "additionalProperties": NUMBER},
            "field.* no longer accepts string, only integer",
        ),
        (
            {"type": "object"},
            {"type": "object", "additionalProperties": False},
            "field no longer accepts undeclared fields",
        ),
    ],
)
def test_a_narrowed_or_changed_type_is_refused(before: Schema, after: Schema, finding: str) -> None:
    """Something that an old producer could send would not validate any more."""
    findings = changed(before, after)
    assert len(findings) == 1
    assert findings[0].startswith(f"Thing: {finding}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NUMBER, {"type": "number"}),
        (TEXT, {"anyOf": [TEXT, NOTHING]}),
        (TEXT, {"type": ["string", "null"]}),
        (TEXT, {}),
        ({"enum": ["a"], "type": "string"}, {"enum": ["a", "b"], "type": "string"}),
        ({"const": "a", "type": "string"}, {"enum": ["a", "b"], "type": "string"}),
        ({"enum": ["a"], "type": "string"}, TEXT),
        ({"const": "a"}, TEXT),
        ({**NUMBER, "exclusiveMinimum": 0}, {**NUMBER, "minimum": 0}),
        ({**NUMBER, "exclusiveMinimum": 0}, {**NUMBER, "minimum": 1}),
        ({**TEXT, "maxLength": 9}, {**TEXT, "maxLength": 10}),
        ({**TEXT, "pattern": "a"}, TEXT),
        ({**TEXT, "format": "date"}, TEXT),
        ({**TEXT, "description": "old", "default": "x"}, {**TEXT, "description": "new", "default": "y"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object"}),
    ],
)
def test_a_widened_type_is_compatible(before: Schema, after: Schema) -> None:
    """Everything that an old producer could send still validates."""
    assert changed(before, after) == []


def test_a_change_inside_a_referenced_model_names_the_place() -> None:
    """References are followed, through lists and unions, and the finding says where."""
    field = {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Part"}}, NOTHING]}
    before = document({"parts": field}, defs={"Part": document({"size": TEXT})})
    after = document({"parts": field}, defs={"Part": document({"size": NUMBER})})
    assert incompatibilities("Thing", before, after) == [
        "Thing: parts[].size no longer accepts string, only integer without a higher schema_version than 1"
    ]


def test_moving_a_model_behind_a_reference_changes_nothing() -> None:
    """Only the shape counts, not how the schema spells it."""
    part = document({"size": NUMBER})
    before = document({"part": part})
    after = document({"part": {"$ref": "#/$defs/Part"}}, defs={"Part": part})
    assert incompatibilities("Thing", before, after) == []


def test_a_model_that_contains_itself_is_compared_once() -> None:
    """A recursive schema ends, and a change inside it is found."""

    def node(leaf: Schema) -> Schema:
        below: Schema = {"anyOf": [{"$ref": "#/$defs/Node"}, NOTHING]}
        return document({"root": below}, defs={"Node": document({"leaf": leaf, "next": below})})

    assert incompatibilities("Thing", node(TEXT), node(TEXT)) == []
    (finding,) = incompatibilities("Thing", node(TEXT), node(NUMBER))
    assert "root.leaf no longer accepts string, only integer" in finding


def test_the_closest_branch_of_a_union_is_reported() -> None:
    """Of several alternatives of one type, the finding speaks of the one that almost fits."""
    kinds = [document({"kind": {"const": kind}, "size": NUMBER}) for kind in ("a", "b")]
    after = [document({"kind": {"const": "a"}, "size": TEXT}), kinds[1]]
    (finding,) = changed({"oneOf": kinds}, {"oneOf": after})
    assert "field.size no longer accepts integer, only string" in finding


def test_a_higher_version_permits_any_change() -> None:
    """The version is the statement that the meaning changed."""
    before, after = document({"a": TEXT}), document({"a": NUMBER}, version=2)
    assert incompatibilities("Thing", before, after) == []


def test_a_version_never_goes_back() -> None:
    """A lower version would make consumers accept what they cannot read."""
    assert incompatibilities("Thing", document({}, version=3), document({}, version=2)) == [
        "Thing: schema_version went back from 3 to 2"
    ]


def test_a_removed_contract_is_refused_until_it_is_retired() -> None:
    """Messages of that kind may still lie in a queue."""
    (finding,) = incompatibilities("Thing", document({}), None)
    assert finding.startswith("Thing: the contract was removed")
    assert incompatibilities("Thing", document({}), None, retired=True) == []


def topology(resources: dict[str, list[Schema]], version: int = 1) -> Schema:
    return {"version": version, "queues": [], "topics": [], "tables": [], "buckets": [], **resources}


@pytest.mark.parametrize("kind", ["queues", "topics", "tables", "buckets"])
def test_dropping_a_resource_of_the_topology_is_refused(kind: str) -> None:
    """It may hold messages, rows or state; adding one is fine."""
    before, after = topology({kind: [{"name": "a"}]}), topology({})
    assert incompatibilities("topology", before, after) == [
        f"topology: {kind}.a was removed without a higher schema_version than 1"
    ]
    assert incompatibilities("topology", after, before) == []
    assert incompatibilities("topology", before, topology({}, version=2)) == []


def test_another_table_key_is_refused() -> None:
    """A table's key cannot change in place: the table would be replaced with its items."""
    before = topology({"tables": [{"name": "ledger", "partition_key": {"name": "run_id", "type": "S"}}]})
    after = topology({"tables": [{"name": "ledger", "partition_key": {"name": "run", "type": "S"}}]})
    (finding,) = incompatibilities("topology", before, after)
    assert finding.startswith("topology: tables.ledger has another key")
