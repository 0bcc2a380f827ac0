"""The seven rules again, in plain Python: every pair of a key is looked at, and nothing is clever."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

SPEEDS = ((0, 12), (2, 18), (5, 25), (10, 32), (20, 42), (50, 52), (100, 60))
MEAN_DIAMETER_MILES = 7917.5226
FLAGS = (
    "SameSchTimeFlag",
    "SameVisitTimeFlag",
    "SchAndVisitTimeSameFlag",
    "SchOverAnotherSchTimeFlag",
    "VisitTimeOverAnotherVisitTimeFlag",
    "SchTimeOverVisitTimeFlag",
    "DistanceFlag",
)
PARTNER = (
    *("VisitID", "ProviderID", "ProviderName", "SchStartTime", "SchEndTime"),
    *("VisitStartTime", "VisitEndTime", "PLatitude", "PLongitude", "PZipCode"),
)
TRAVEL = ("DistanceMilesFromLatLng", "AverageMilesPerHour", "ETATravelMinutes", "MinuteDiffBetweenSch")
COMPUTED = (*(f"Con{name}" for name in PARTNER), *FLAGS, *TRAVEL, "StatusFlag")

Visit = Mapping[str, Any]


def recompute(visits: Sequence[Visit]) -> dict[int, dict[str, Any]]:
    """What the computed columns of each row become, by "ID"."""
    keys: dict[Any, list[Visit]] = defaultdict(list)
    for visit in visits:
        keys[visit["VisitDate"], visit["SSN"]].append(visit)
    return {visit["ID"]: _columns(visit, keys[visit["VisitDate"], visit["SSN"]]) for visit in visits}


def _columns(v1: Visit, others: Sequence[Visit]) -> dict[str, Any]:
    found = [(rule(v1, v2), v2["VisitID"], v2["ID"], v2) for v2 in others if rule(v1, v2) is not None]
    if not found or v1["SSN"] is None:
        return dict.fromkeys(COMPUTED) | dict.fromkeys(FLAGS, "N") | {"StatusFlag": "N"}
    strongest, _, _, v2 = min(found, key=lambda each: each[:3])
    miles = _miles(v1, v2)
    travel = (miles, None if miles is None else _speed(miles), None if miles is None else _eta(miles), _gap(v1, v2))
    return {
        **{f"Con{name}": v2[name] for name in PARTNER},
        **{name: "Y" if number == strongest else "N" for number, name in enumerate(FLAGS, 1)},
        **dict(zip(TRAVEL, travel, strict=True)),
        "StatusFlag": "U",
    }


def rule(v1: Visit, v2: Visit) -> int | None:  # noqa: PLR0911 - one line each
    """The strongest rule by which the first is in conflict with the second."""
    if None in {v1["ProviderID"], v2["ProviderID"], v1["VisitID"], v2["VisitID"]}:
        return None
    if v1["ProviderID"] == v2["ProviderID"] or v1["VisitID"] == v2["VisitID"]:
        return None
    kind = (_started(v1), _started(v2))
    (begins1, ends1), (begins2, ends2) = _interval(v1), _interval(v2)
    if None in {begins1, ends1, begins2, ends2}:
        return None
    if (begins1, ends1) == (begins2, ends2):
        return {(False, False): 1, (True, True): 2, (False, True): 3}.get(kind)
    if begins1 < ends2 and begins2 < ends1:
        return {(False, False): 4, (True, True): 5, (False, True): 6}.get(kind)
    if kind == (True, True) and begins2 >= ends1 and (v1["PZipCode"] is None or v1["PZipCode"] != v2["PZipCode"]):
        miles = _miles(v1, v2)
        if miles is not None and _eta(miles) > _gap(v1, v2):
            return 7
    return None


def _started(visit: Visit) -> bool:
    return visit["VisitStartTime"] is not None and visit["VisitEndTime"] is not None


def _interval(visit: Visit) -> tuple[Any, Any]:
    if _started(visit):
        return visit["VisitStartTime"], visit["VisitEndTime"]
    return visit["SchStartTime"], visit["SchEndTime"]


def _miles(v1: Visit, v2: Visit) -> float | None:
    places = (v1["PLatitude"], v1["PLongitude"], v2["PLatitude"], v2["PLongitude"])
    if None in places or max(abs(places[0]), abs(places[2])) > 90 or max(abs(places[1]), abs(places[3])) > 180:
        return None
    latitude1, longitude1, latitude2, longitude2 = places
    a = math.sin(math.radians(latitude2 - latitude1) / 2) ** 2
    b = math.sin(math.radians(longitude2 - longitude1) / 2) ** 2
    chord = a + math.cos(math.radians(latitude1)) * math.cos(math.radians(latitude2)) * b
    return round(100 * MEAN_DIAMETER_MILES * math.asin(min(1, math.sqrt(chord)))) / 100


def _speed(miles: float) -> float:
    return float(max((above, speed) for above, speed in SPEEDS if above <= miles)[1])


def _eta(miles: float) -> float:
    return round(6000 * miles / _speed(miles)) / 100


def _gap(v1: Visit, v2: Visit) -> float:
    between: timedelta = _interval(v2)[0] - _interval(v1)[1]
    return round(between.total_seconds() * 100 / 60) / 100
