"""The generated uploads are what they say they are: the oracle of the demo and of the end-to-end tests."""

import json
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import process_time

import pytest
from pydantic import ValidationError

from contracts.records import VisitEvent
from contracts.sources import ObjectSource
from services.console.demo.mistakes import FOREIGN, INVALID, MALFORMED, REQUIRED
from services.console.demo.visit_events import START, Expected, Upload, generate, write_files
from services.runtime.declarations import load_pipeline
from services.runtime.settings import PROJECT

PIPELINE = load_pipeline(PROJECT / "pipelines" / "visit_events.toml")
UPLOADS = generate(7, 5_000)


def judge(upload: Upload) -> tuple[str, str]:
    """The true verdict, straight from the contracts."""
    if not PIPELINE.source.accepts(PIPELINE.source.prefix + upload.name):
        return "ignored", ""
    try:
        event = VisitEvent.model_validate_json(upload.body)
    except ValidationError as error:
        malformed = error.errors()[0]["type"] == "json_invalid"
        return "quarantined", "malformed-json" if malformed else "invalid-record"
    dropped = any(getattr(event, rule.field).startswith(rule.starts_with) for rule in PIPELINE.drop)
    return ("filtered" if dropped else "merged"), ""


@pytest.mark.parametrize("seed", [0, 1, 7, 2024])
def test_the_expected_verdict_is_the_true_one(seed: int) -> None:
    """Every upload's verdict is what patterns, record schema and drop rule say of it."""
    wrong = [(u.kind, u.name, u.body) for u in generate(seed, 2_000) if judge(u) != (u.expected, u.reason)]
    assert wrong == []


def test_the_same_seed_gives_the_same_uploads() -> None:
    """Also in another process and on another Python: the digest is written down here."""
    digest = sha256()
    for upload in generate(7, 500):
        digest.update(f"{upload.name}\0{upload.expected}\0{upload.reason}\0{upload.kind}\0".encode() + upload.body)
    assert digest.hexdigest() == "db266d9aed84069a9eb4172d9fe94179dc2e5aab50a47c35c402b2f9b44e4409"


def test_a_longer_sample_begins_like_a_shorter_one() -> None:
    """A benchmark of ten thousand contains the one of a thousand."""
    assert UPLOADS[:300] == generate(7, 300)
    assert generate(8, 300) != generate(7, 300)


def test_every_kind_appears() -> None:
    """Each step of a visit, each mistake, each foreign file, each way to repeat."""
    kinds = {upload.kind for upload in UPLOADS}
    steps = {"submit", "filled", "not-pass-qc", "resubmit", "pass-qc", "delete", "late"}
    assert kinds == steps | {"same-key-again", "same-content-elsewhere"} | {*MALFORMED, *INVALID, *FOREIGN}


def test_the_totals_are_the_sums_of_the_verdicts() -> None:
    """No upload is left out of the totals or counted twice."""
    totals = Expected.of(UPLOADS)
    truth = Counter(judge(upload) for upload in UPLOADS)
    assert totals.merged == truth["merged", ""] > 4_000
    assert totals.filtered == truth["filtered", ""] > 0
    assert totals.ignored == truth["ignored", ""] > 0
    assert dict(totals.quarantined) == {
        "malformed-json": truth["quarantined", "malformed-json"],
        "invalid-record": truth["quarantined", "invalid-record"],
    }
    assert totals.merged + totals.filtered + totals.ignored + sum(totals.quarantined.values()) == len(UPLOADS)


def test_shares_of_zero_leave_only_good_events() -> None:
    """A benchmark can ask for nothing but events that are merged."""
    plain = generate(3, 500, share_bad=0, share_foreign=0, share_repeated=0, share_late=0, share_sandbox=0)
    assert Expected.of(plain) == Expected(merged=500)


def test_shares_of_one_leave_only_that() -> None:
    """Every knob reaches its end."""
    assert sum(Expected.of(generate(3, 200, share_bad=1)).quarantined.values()) == 200
    assert Expected.of(generate(3, 200, share_bad=0, share_foreign=1)).ignored == 200


def test_a_filled_event_is_the_submit_event_with_more_in_it() -> None:
    """Logged again under its own name and time; before, module and packet were unknown."""
    first: dict[str, VisitEvent] = {}
    filled = 0
    for upload in UPLOADS:
        if upload.kind == "submit":
            first[upload.name] = VisitEvent.model_validate_json(upload.body)
        elif upload.kind == "filled":
            before, after = first[upload.name], VisitEvent.model_validate_json(upload.body)
            assert (before.module, before.packet) == (None, None)
            assert after.module in {"UDS", "FTLD", "LBD"}
            assert after.packet in {"I", "F", "T"}
            known = after.model_copy(update={"module": None, "packet": None})
            assert known == before
            filled += 1
    assert filled > 100


def test_late_events_are_older_than_everything_before() -> None:
    """A reader that only asks for newer timestamps than it has seen would lose every one of them."""
    oldest, late = datetime.max.replace(tzinfo=UTC), 0
    for upload in UPLOADS:
        if upload.expected not in {"merged", "filtered"}:
            continue
        moment = VisitEvent.model_validate_json(upload.body).timestamp
        if upload.kind == "late":
            assert moment < min(oldest, START)
            late += 1
        oldest = min(oldest, moment)
    assert late > 50


def test_repetitions_have_the_content_of_an_earlier_upload() -> None:
    """The same key put again, or the same bytes under a key of their own."""
    contents: dict[str, set[bytes]] = {}
    bodies: set[bytes] = set()
    for upload in UPLOADS:
        if upload.kind == "same-key-again":
            assert upload.body in contents[upload.name]
        elif upload.kind == "same-content-elsewhere":
            assert upload.body in bodies
            assert upload.body not in contents.get(upload.name, set())
        contents.setdefault(upload.name, set()).add(upload.body)
        bodies.add(upload.body)


def test_the_spellings_of_real_producers_appear() -> None:
    """Numeric strings, naive, offset and fractional times, missing study, unknown fields, hyphens, both names."""
    good = [upload for upload in UPLOADS if upload.expected == "merged"]
    documents = [json.loads(upload.body) for upload in good]
    stamps = [document["timestamp"] for document in documents]
    assert {type(document["pipeline_adcid"]) for document in documents} == {int, str}
    assert any(stamp.endswith("Z") for stamp in stamps)
    assert any(stamp.endswith("+05:30") for stamp in stamps)
    assert any(datetime.fromisoformat(stamp).tzinfo is None for stamp in stamps)
    assert any("." in stamp for stamp in stamps)
    assert any("study" not in document for document in documents)
    assert any("module" not in document for document in documents)
    assert any("job_id" in document for document in documents)
    assert any("delta-west" in upload.name for upload in good)
    assert {VisitEvent.model_validate_json(u.body).datatype for u in good} == {"form", "dicom"}
    assert isinstance(PIPELINE.source, ObjectSource)
    dated, undated = (PIPELINE.source.key_patterns[index] for index in (1, 0))
    assert dated != undated
    suffixes = {upload.name.endswith(f"-{json.loads(upload.body)['visit_date']}.json") for upload in good}
    assert suffixes == {True, False}


def test_the_required_fields_are_those_of_the_contract() -> None:
    """A field that becomes required must also be left out by the generator."""
    required = {name for name, info in VisitEvent.model_fields.items() if info.is_required()}
    assert set(REQUIRED) == required


def test_ten_thousand_uploads_are_cheap() -> None:
    """About a second of CPU time; the bound leaves room for a slow machine, not for a quadratic generator."""
    started = process_time()
    assert len(generate(1, 10_000)) == 10_000
    assert process_time() - started < 4


def test_written_folders_replay_the_uploads(tmp_path: Path) -> None:
    """Put one after the other, the folders hold every upload; later versions come in later folders."""
    some = UPLOADS[:600]
    folders = write_files(some, tmp_path)
    assert [folder.name for folder in folders[:2]] == ["put-001", "put-002"]
    versions: dict[str, list[bytes]] = {}
    for folder in folders:
        for path in folder.iterdir():
            name = path.name.removesuffix("_$folder$") + "/" if path.name.endswith("_$folder$") else path.name
            versions.setdefault(name, []).append(path.read_bytes())
    expected: dict[str, list[bytes]] = {}
    for upload in some:
        expected.setdefault(upload.name, []).append(upload.body)
    assert versions == expected
