"""Visit event files for the benchmarks, each a pure function of its number.

Timestamps grow with the number and are distinct. That is the one case in which filtering by
``timestamp > checkpoint maximum`` loses nothing, so every candidate must produce the same rows.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

PREFIX = "events/"

_EPOCH = datetime(2023, 1, 2, 8, tzinfo=UTC)
_STEP = timedelta(seconds=611, milliseconds=7)
_ACTIONS = ("submit", "submit", "pass-qc", "pass-qc", "not-pass-qc", "delete")
_MODULES = ("UDS", "FTLD", "LBD", None)
_PACKETS = ("I", "F", None)


def event_file(number: int) -> tuple[str, bytes]:
    """Key and content of one file: a single event of about 400 bytes."""
    dice = Random(number)  # noqa: S311 - sample data, not a secret
    moment = _EPOCH + number * _STEP
    adcid = dice.randint(1, 42)
    action = dice.choice(_ACTIONS)
    ptid, visit_number = f"N{dice.randrange(10**6):06d}", f"{dice.randint(1, 20):02d}"
    study = dice.choice(("adrc", "adrc", "dvcid", "leads"))
    datatype = dice.choice(("form", "form", "dicom"))
    project = f"ingest-{datatype}-{study}"
    event = {
        "action": action,
        "study": study,
        "pipeline_adcid": adcid,
        "project_label": project,
        "center_label": f"center-{adcid:02d}",
        "gear_name": dice.choice(("identifier-lookup", "form-qc-checker", "form-screening")),
        "ptid": ptid,
        "visit_date": (moment.date() - timedelta(days=dice.randint(0, 60))).isoformat(),
        "visit_number": visit_number,
        "datatype": datatype,
        "module": dice.choice(_MODULES) if datatype == "form" else None,
        "packet": dice.choice(_PACKETS) if datatype == "form" else None,
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    name = f"log-{action}-{moment:%Y%m%d-%H%M%S}-{adcid}-{project}-{ptid}-{visit_number}.json"
    return PREFIX + name, json.dumps(event, indent=2).encode()


def event_files(first: int, count: int) -> Iterator[tuple[str, bytes]]:
    """The files numbered ``first`` to ``first + count - 1``."""
    return map(event_file, range(first, first + count))
