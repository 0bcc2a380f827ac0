"""Pipeline declarations: what a data engineer gets wrong is said in one line, with the place."""

import tomllib
from typing import Any

import pytest

from contracts.pipelines import InvalidPipelineError, Pipeline
from contracts.sources import FetchedName, ObjectSource
from services.runtime.settings import PROJECT

SHIPPED = (PROJECT / "pipelines" / "visit_events.toml").read_text(encoding="utf-8")


def declaration() -> dict[str, Any]:
    return tomllib.loads(SHIPPED)


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(InvalidPipelineError) as caught:
        Pipeline.parse(document, where="mine.toml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("mine.toml: ")
    return text.removeprefix("mine.toml: ")


def test_the_shipped_declaration_is_valid() -> None:
    """The example that everybody copies works, with its defaults."""
    pipeline = Pipeline.parse(declaration(), where="visit_events.toml")
    assert pipeline.watermark == "visit_events#events"
    assert pipeline.target.fields == []
    assert pipeline.limits.objects_per_segment == 2_000
    assert isinstance(pipeline.source, ObjectSource)
    assert len(pipeline.source.key_patterns) == 2


def test_an_unknown_field_is_refused_at_its_place() -> None:
    """A misspelt setting must not be silently without effect."""
    document = declaration()
    document["source"]["prefx"] = "events/"
    assert refusal(document) == "source.prefx: Extra inputs are not permitted"


def test_a_bad_regular_expression_is_refused_at_its_place() -> None:
    """The text shows the pattern and what is wrong with it."""
    document = declaration()
    document["source"]["key_patterns"] = ["log-(", "fine"]
    text = refusal(document)
    assert text.startswith("source.key_patterns: Value error, 'log-(' is not a regular expression: missing )")


def test_no_pattern_at_all_is_refused() -> None:
    """A source that accepts nothing is a mistake."""
    document = declaration()
    document["source"]["key_patterns"] = []
    assert refusal(document).startswith("source.key_patterns: List should have at least 1 item")


def test_an_unknown_record_is_refused_with_the_known_ones() -> None:
    """The text says what may be written instead."""
    document = {**declaration(), "record": "visit"}
    assert "record 'visit' is not a known schema; known: ['visit_event']" in refusal(document)


@pytest.mark.parametrize(
    "key", ["checkpoints/{centre}/events.parquet", "{centre}/{study}.parquet", "{study}/{centre}.parquet"]
)
def test_a_target_key_with_an_unknown_field_is_refused(key: str) -> None:
    """Wherever in the template the unknown field stands, and with the fields that exist."""
    document = declaration()
    document["target"]["key"] = key
    assert "target.key: visit_event has no field 'centre'; it has ['action'," in refusal(document)


def test_a_target_key_may_use_the_records_fields() -> None:
    """Fields are found in order."""
    document = declaration()
    document["target"]["key"] = "checkpoints/{study}/{datatype}/events.parquet"
    assert Pipeline.parse(document, where="x").target.fields == ["study", "datatype"]


def test_ordering_by_an_unknown_field_is_refused() -> None:
    """The checkpoint could not be sorted."""
    document = declaration()
    document["target"]["order_by"] = "when"
    assert "target.order_by: visit_event has no field 'when'" in refusal(document)


def test_a_drop_rule_on_an_unknown_field_is_refused_with_its_number() -> None:
    """Of several rules the wrong one is named."""
    document = declaration()
    document["drop"].append({"field": "project", "starts_with": "x"})
    assert "drop.1.field: visit_event has no field 'project'" in refusal(document)


def test_several_mistakes_are_all_named() -> None:
    """One round of corrections is enough."""
    document = declaration()
    document["name"] = "Visit Events"
    del document["source"]["kind"]
    text = refusal(document)
    assert text.startswith("name: String should match pattern")
    assert "; source.kind: Field required" in text


PIPELINE = Pipeline.parse(declaration(), where="visit_events.toml")
STEM = "log-submit-20240115-100000-42-ingest-form-alpha-ABC123-01"


@pytest.mark.parametrize(
    "name",
    [
        f"{STEM}.json",
        f"{STEM}-2024-01-15.json",
        "log-pass-qc-20240115-103000-42-adrc-ABC123-01.json",
        "log-not-pass-qc-20240115-103000-7-sandbox-form-alpha-P1-V2.json",
        "log-delete-20240115-103000-1-a-b-c-d-e-0-1.json",
        "log-submit-20240115-100000-42-adrc-ABC123-01-2024-01-15.json",
        "log-submit-20240115-100000-42-projekt_ä.1-ABC123-01.json",
    ],
)
def test_the_documented_names_are_accepted(name: str) -> None:
    """Both shipped patterns: with and without a visit date, and with hyphens in the project; in sub-folders too."""
    assert PIPELINE.source.accepts(f"events/{name}")
    assert PIPELINE.source.accepts(f"events/2024/01/{name}")


@pytest.mark.parametrize(
    "name",
    [
        STEM.replace("submit", "unknown") + ".json",
        STEM.replace("submit", "Submit") + ".json",
        STEM.replace("submit", "qc") + ".json",
        STEM + ".JSON",
        STEM + ".csv",
        STEM + ".json.gz",
        STEM + ".json.tmp",
        STEM,
        "x" + STEM + ".json",
        STEM.replace("20240115", "2024011") + ".json",
        STEM.replace("-100000", "") + ".json",
        STEM.replace("-42-", "-x-") + ".json",
        "log-submit-20240115-100000-42-ABC123-01.json",
        "log-submit-20240115-100000-42-adrc-abc-.json",
        "README.txt",
        ".DS_Store",
        "",
    ],
)
def test_other_names_are_ignored(name: str) -> None:
    """A wrong action or extension, missing parts, foreign files and folder markers are not this pipeline's."""
    assert not PIPELINE.source.accepts(f"events/{name}")


def test_a_key_outside_the_prefix_is_ignored() -> None:
    """The prefix is part of what a pipeline reads; a run may name another one."""
    key = f"elsewhere/{STEM}.json"
    assert not PIPELINE.source.accepts(key)
    assert PIPELINE.source.accepts(key, prefix="elsewhere/")


def collected(**changes: dict[str, Any]) -> dict[str, Any]:
    """The shipped declaration of a collected pipeline, with parts of its tables changed."""
    document: dict[str, Any] = tomllib.loads((PROJECT / "pipelines" / "nyc_311.toml").read_text(encoding="utf-8"))
    for table, values in changes.items():
        document[table] = {**document[table], **values}
    return document


def test_a_collected_pipeline_declares_its_columns() -> None:
    """Columns keep their order and types; the key's fields are columns, or the day of the run."""
    pipeline = Pipeline.parse(collected(), where="nyc_311.toml")
    assert pipeline.is_collected
    assert list(pipeline.output_columns.items())[:2] == [("unique_key", "string"), ("created_date", "timestamp_us")]
    assert pipeline.target.fields == ["created_date", "created_date", "run_date"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": {"cursor": "updated_at"}}, "source.cursor: 'updated_at' must be declared in columns"),
        ({"columns": {"unique_key": {"type": "string"}}}, "source.unique_key: 'unique_key' must be declared in"),
        ({"columns": {"created_date": {"type": "date", "required": True}}}, "source.cursor: 'created_date' must be"),
        ({"columns": {"status": {"type": "text"}}}, "columns.status.type: Input should be 'string', "),
        ({"target": {"key": "year={year}/data.parquet"}}, "target.key: columns has no field 'year'"),
        ({"source": {"kind": "soda"}}, "source.kind: 'soda' is none of 'objects', 'socrata'"),
        ({"source": {"dataset": "311"}}, "source.dataset: String should match pattern"),
        ({"target": {"kind": "checkpoint", "state_mirror": None}}, "target.state_mirror: Extra inputs are not"),
    ],
)
def test_a_wrong_collected_declaration_is_refused_at_its_place(changes: dict[str, Any], reason: str) -> None:
    """Cursor, key, types and template are checked when the file is read, not in the middle of a run."""
    assert reason in refusal(collected(**changes))


def test_a_pipeline_has_a_record_or_columns_and_not_both() -> None:
    """What a row looks like is said once."""
    assert "exactly one of record and columns" in refusal(collected() | {"record": "visit_event"})
    assert "exactly one of record and columns" in refusal({**collected(), "columns": {}})


def test_the_name_of_a_raw_object_can_be_read_back() -> None:
    """Its key says which run and segment it belongs to; keys that a fetcher did not write say nothing."""
    name = FetchedName(run_date="2026-02-21", pipeline="nyc_311", run_id="nyc_311-x", segment_id="abc")
    key = name.key("raw/")
    assert key == "raw/2026/02/21/nyc_311/nyc_311-x/abc.json.gz"
    assert FetchedName.read("raw/", key) == name
    for foreign in ("elsewhere/" + key, key.removesuffix(".gz"), "raw/2026/02/21/abc.json.gz", key + "/x.json.gz"):
        assert FetchedName.read("raw/", foreign) is None
