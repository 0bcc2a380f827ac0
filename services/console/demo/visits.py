"""A small world of research centres: who is seen when, and which events one visit goes through."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from services.console.demo.dice import Dice

CENTRES = (
    (42, "alpha", "Alpha University"),
    (7, "beta", "Beta Medical Center"),
    (119, "gamma", "Centro de Memória Gamma"),
    (3, "delta-west", "Delta West"),
    (2048, "omega", "Omega Institute, Zürich"),
)
"""(adcid, short name, label) of each centre."""

FORM_MODULES = {"UDS": ("I", "F", "T"), "FTLD": ("I", "F"), "LBD": ("I", "F")}
GEARS = ("form-qc-checker", "identifier-lookup", "form-transformer", "dicom-qc-coordinator")
STUDIES = ("adrc", "adrc", "adrc", "adrc", "dvcid", "leads")
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
OFFSETS = tuple(timezone(timedelta(hours=hours, minutes=minutes)) for hours, minutes in ((-5, 0), (2, 0), (5, 30)))


@dataclass(frozen=True, slots=True)
class Event:
    """One event before it is written down; ``timestamp`` is UTC."""

    action: str
    study: str
    adcid: int
    project: str
    centre: str
    gear: str
    ptid: str
    visit_date: date
    visit_number: str
    datatype: str
    module: str | None
    packet: str | None
    timestamp: datetime


def new_visit(dice: Dice, now: datetime, *, sandbox: bool) -> Event:
    """The first event of a visit: submitted, with nothing known of module and packet yet."""
    adcid, short, label = dice.pick(CENTRES)
    datatype = dice.pick(("form", "form", "form", "dicom"))
    kind = "sandbox" if sandbox else "ingest"
    return Event(
        action="submit",
        study=dice.pick(STUDIES),
        adcid=adcid,
        project=f"{kind}-{datatype}-{short}",
        centre=label,
        gear=dice.pick(GEARS),
        ptid="".join(dice.pick(LETTERS) for _ in range(dice.between(4, 10))),
        visit_date=now.date() - timedelta(days=dice.between(0, 60)),
        visit_number=dice.pick(("01", "02", "03", "4", "V5", "12")),
        datatype=datatype,
        module=None,
        packet=None,
        timestamp=now,
    )


def life_of(dice: Dice, first: Event) -> Iterator[tuple[str, Event]]:
    """What happens to a visit, step by step; the caller moves each timestamp to when it happens.

    A ``filled`` step logs the submit event once more, at its own time, now with module and packet.
    """
    known = first
    yield "submit", first
    if first.datatype == "form":
        module = dice.pick(tuple(FORM_MODULES))
        known = replace(first, module=module, packet=dice.pick(FORM_MODULES[module]))
        yield "filled", known
    while dice.chance(0.3):
        yield "not-pass-qc", replace(known, action="not-pass-qc")
        yield "resubmit", replace(known, action="submit")
    yield "pass-qc", replace(known, action="pass-qc")
    if dice.chance(0.15):
        yield "delete", replace(known, action="delete")


def name_of(event: Event, *, dated: bool, logged_at: datetime | None = None) -> str:
    """The file name, in one of the two shipped patterns."""
    at = (logged_at or event.timestamp).astimezone(UTC)
    parts = ["log", event.action, f"{at:%Y%m%d-%H%M%S}", str(event.adcid)]
    parts += [event.project, event.ptid, event.visit_number]
    return "-".join(parts + ([event.visit_date.isoformat()] if dated else [])) + ".json"


def document_of(event: Event, dice: Dice) -> dict[str, Any]:
    """The event as the various gears write it: spelled differently, meaning the same."""
    document: dict[str, Any] = {
        "action": event.action,
        "study": event.study,
        "pipeline_adcid": str(event.adcid) if dice.chance(0.2) else event.adcid,
        "project_label": event.project,
        "center_label": event.centre,
        "gear_name": event.gear,
        "ptid": event.ptid,
        "visit_date": event.visit_date.isoformat(),
        "visit_number": event.visit_number,
        "datatype": event.datatype,
        "module": event.module,
        "packet": event.packet,
        "timestamp": _spelled(event.timestamp, dice),
    }
    if event.study == "adrc" and dice.chance(0.3):
        del document["study"]  # the default
    if event.module is None and dice.chance(0.3):
        del document["module"], document["packet"]
    if dice.chance(0.1):
        document["job_id"] = f"{dice.between(10**6, 10**7):x}"  # fields are added without notice
    return document


def bytes_of(document: dict[str, Any], dice: Dice) -> bytes:
    """The document as bytes; some gears indent, some escape."""
    indent = 2 if dice.chance(0.2) else None
    return json.dumps(document, indent=indent, ensure_ascii=dice.chance(0.5)).encode()


def _spelled(moment: datetime, dice: Dice) -> str:
    style = dice.between(0, 5)
    if style == 0:
        return moment.replace(tzinfo=None).isoformat()  # naive means UTC
    if style == 1:
        return moment.isoformat()
    if style == 2:  # noqa: PLR2004 - the third of a few spellings
        return moment.astimezone(dice.pick(OFFSETS)).isoformat()
    return moment.replace(tzinfo=None).isoformat() + "Z"
