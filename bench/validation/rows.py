"""Visit events as producers write them, the same for the same seed."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

BAD_SHARE = 0.01
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_START = datetime(2023, 1, 1, tzinfo=UTC)
_SECONDS = 3 * 365 * 86_400


def documents(rows: int, profile: str, seed: int) -> list[bytes]:
    """``rows`` documents, one percent of them bad in various ways.

    Args:
        rows: how many.
        profile: ``usual`` (one producer, labels repeat), ``producers`` (four layouts side by side) or ``varied``
            (every label is different, so that no value can be looked up).
        seed: of all choices.
    """
    return list(_documents(rows, profile, random.Random(seed)))  # noqa: S311 - must repeat, not surprise


def _documents(rows: int, profile: str, choose: random.Random) -> Iterator[bytes]:
    for row in range(rows):
        event = _event(choose)
        if profile == "varied":
            for name in ("project_label", "center_label", "gear_name", "visit_number", "datatype"):
                event[name] = f"{event[name]}-{row}"
        separators = (", ", ": ")
        if profile == "producers":
            event, separators = _as_written_by(choose.randrange(4), event)
        document = json.dumps(event, separators=separators)
        yield (_spoilt(document, choose) if choose.random() < BAD_SHARE else document).encode()


def _event(choose: random.Random) -> dict[str, Any]:
    moment = _START + timedelta(seconds=choose.randrange(_SECONDS))
    if choose.random() < 1 / 2:
        moment += timedelta(microseconds=choose.randrange(1_000_000))
    return {
        "action": choose.choice(("submit", "pass-qc", "not-pass-qc", "delete")),
        "study": "adrc",
        "pipeline_adcid": choose.randint(1, 60),
        "project_label": choose.choice(("ingest-form", "ingest-enrollment", "ingest-form-dvcid", "sandbox-form")),
        "center_label": f"center-{choose.randint(1, 40):02d}",
        "gear_name": "form-qc-checker",
        "ptid": "".join(choose.choices(_ALPHABET, k=choose.randint(6, 10))),
        "visit_date": str((moment - timedelta(days=choose.randrange(400))).date()),
        "visit_number": f"{choose.randint(1, 12):02d}",
        "datatype": choose.choice(("form", "form", "form", "dicom")),
        "module": choose.choice(("UDS", "UDS", "LBD", "FTLD", None)),
        "packet": choose.choice(("I", "F", "T", None)),
        "timestamp": moment.isoformat().replace("+00:00", "Z"),
    }


def _as_written_by(producer: int, event: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, str]]:
    if producer == 1:
        return event, (",", ":")
    if producer == 2:  # noqa: PLR2004 - the third of four producers
        return {key: event[key] for key in sorted(event)} | {"sent_by": "gear-17"}, (", ", ": ")
    if producer == 3:  # noqa: PLR2004 - the last of four producers
        return {key: value for key, value in event.items() if key != "study"}, (", ", ": ")
    return event, (", ", ": ")


def _spoilt(document: str, choose: random.Random) -> str:
    changes: Sequence[tuple[str, str]] = (
        ('"ptid"', '"ptid_"'),
        ("submit", "submitted"),
        ('"20', '"2'),
        ("visit_number", "visit_no"),
        ("}", ""),
        (",", ",,"),
        ("form", "fo\nrm"),
    )
    old, new = choose.choice(changes)
    return document.replace(old, new) if old in document else document[:-9]
