"""One service request as JSON text. Most of a row is put together from texts that were encoded once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from services.console.demo.dice import Dice
from services.console.demo.service_requests_city import (
    AGENCIES,
    CHANNELS,
    CLOSING_WORDS,
    COMPLAINTS,
    PLACES,
    PROGRESS_WORDS,
    STATUSES,
    STREETS,
    Complaint,
    Place,
)

_TEXT = (
    *("unique_key", "agency", "agency_name", "complaint_type", "descriptor", "descriptor_2", "location_type"),
    *("incident_zip", "incident_address", "street_name", "cross_street_1", "cross_street_2", "intersection_street_1"),
    *("intersection_street_2", "address_type", "city", "landmark", "facility_type", "status", "resolution_description"),
    *("community_board", "council_district", "police_precinct", "bbl", "borough", "open_data_channel_type"),
    *("park_facility_name", "park_borough", "vehicle_type", "taxi_company_borough", "taxi_pick_up_location"),
    *("bridge_highway_name", "bridge_highway_direction", "road_ramp", "bridge_highway_segment"),
    ":@computed_region_efsh_h5xi",
)
_TIMESTAMPS = ("created_date", "closed_date", "due_date", "resolution_action_updated_date")
_NUMBERS = ("x_coordinate_state_plane", "y_coordinate_state_plane", "latitude", "longitude")

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(_TEXT, "text"),
    **dict.fromkeys(_TIMESTAMPS, "floating_timestamp"),
    **dict.fromkeys(_NUMBERS, "number"),
    "location": "point",
}
"""Every column of the dataset with its type there."""

_FEET_PER_DEGREE = (277_000.0, 364_500.0)
"""East and north, at New York's latitude."""
_AWAY_FT = 4_000
_ODD_DATES = ("1899-12-31T00:00:00.000", "3027-01-01T00:00:00.000")
_ODD_ZIPS = ("--------", "N/A", "ZIP CODE")
_RARE = (
    {"facility_type": "N/A"},
    {"facility_type": "School District"},
    {"vehicle_type": "Car"},
    {"vehicle_type": "SUV"},
    {"taxi_company_borough": "MANHATTAN", "taxi_pick_up_location": "1 PENN PLAZA, MANHATTAN (NEW YORK), NY, 10119"},
    {
        "bridge_highway_name": "Belt Pkwy",
        "bridge_highway_direction": "East/Queens Bound",
        "road_ramp": "Roadway",
        "bridge_highway_segment": "Cross Bay Blvd (Exit 17 N-S)",
    },
)


class Written(NamedTuple):
    """A row and what is wrong with it."""

    line: str
    status: str | None
    nulled: tuple[str, ...] = ()
    bad: str = ""


class _Kind(NamedTuple):
    """A complaint, encoded; the agency's name stands apart because a bad row has another value there."""

    agency: str
    name: str
    descriptors: tuple[str, ...]
    place: str


class Writer:
    """Writes rows whose texts the dice choose."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._kinds = _weighted((_kind(complaint), complaint.weight) for complaint in COMPLAINTS)
        self._statuses = _weighted(STATUSES)
        self._channels = _weighted((_encoded(open_data_channel_type=name), weight) for name, weight in CHANNELS)
        self._streets = [json.dumps(street, ensure_ascii=False)[1:-1] for street in STREETS]
        self._areas = [(place, *_area(place)) for place in PLACES]
        self._words = {
            True: [_encoded(resolution_description=words) for words in CLOSING_WORDS],
            False: [_encoded(resolution_description=words) for words in PROGRESS_WORDS],
        }
        self._rare = [_encoded(**values) for values in _RARE]

    def row(self, key: str, created: datetime, *, odd: bool, bad: bool) -> Written:
        """A row; ``odd``: one value is strange or not of its type, ``bad``: no pipeline can take it as it is."""
        dice = self._dice
        kind, status = dice.pick(self._kinds), dice.pick(self._statuses)
        place, town, region = dice.pick(self._areas)
        changed, nulled = self._oddity(created) if odd else ({}, ())
        fault = ("no-status" if dice.chance(0.25) else "not-text") if bad else ""
        parts = [f'"unique_key":"{key}","created_date":"{_stamp(created)}"']
        closed = created + timedelta(seconds=dice.between(-600, 72_000)) if status.startswith("Closed") else None
        if closed is not None or "closed_date" in changed:
            parts.append(f'"closed_date":"{changed.get("closed_date") or _stamp(closed or created)}"')
        parts += [kind.agency, '"agency_name":{"code":"?"}' if fault == "not-text" else kind.name]
        parts.append(dice.pick(kind.descriptors))
        modern = dice.chance(0.5)
        if modern and dice.chance(0.34):
            parts.append('"descriptor_2":"N/A"')
        if kind.place:
            parts.append(kind.place)
        parts.append(f'"incident_zip":"{changed.get("incident_zip", place.zip)}"')
        parts += self._address()
        parts.append(town)
        if dice.chance(0.08):
            parts.append(dice.pick(self._rare))
        if fault != "no-status":
            parts.append(f'"status":"{status}"')
        if "due_date" in changed or dice.chance(0.002):
            parts.append(f'"due_date":"{changed.get("due_date") or _stamp(created + timedelta(days=30))}"')
        if closed is not None or dice.chance(0.4):
            updated = (closed or created) + timedelta(seconds=3)
            parts.append(dice.pick(self._words[closed is not None]))
            parts.append(f'"resolution_action_updated_date":"{_stamp(updated)}"')
        parts += [region[modern], dice.pick(self._channels)]
        if nulled or not dice.chance(0.015):
            parts += self._coordinates(place, changed, modern=modern)
        line = "{" + ",".join(parts) + "}"
        return Written(line, None if fault == "no-status" else status, nulled, fault)

    def _address(self) -> list[str]:
        dice, streets = self._dice, self._streets
        street = dice.pick(streets)
        parts = [f'"incident_address":"{dice.between(1, 3999)} {street}","street_name":"{street}"']
        if dice.chance(0.8):
            one, other = dice.pick(streets), dice.pick(streets)
            parts.append(
                f'"cross_street_1":"{one}","cross_street_2":"{other}",'
                f'"intersection_street_1":"{one}","intersection_street_2":"{other}"'
            )
        parts.append('"address_type":"ADDRESS"')
        if dice.chance(0.72):
            parts.append(f'"landmark":"{street}"')
        return parts

    def _coordinates(self, place: Place, changed: Mapping[str, str], *, modern: bool) -> list[str]:
        dice = self._dice
        east, north = dice.between(-_AWAY_FT, _AWAY_FT), dice.between(-_AWAY_FT, _AWAY_FT)
        longitude = repr(place.longitude + east / _FEET_PER_DEGREE[0])
        latitude = repr(place.latitude + north / _FEET_PER_DEGREE[1])
        x = changed.get("x_coordinate_state_plane") or place.x + east
        parts = [
            f'"bbl":"{dice.between(1, 5)}{dice.between(10_000, 99_999)}{dice.between(1_000, 9_999)}"',
            f'"x_coordinate_state_plane":"{x}","y_coordinate_state_plane":"{place.y + north}"',
            f'"latitude":"{changed.get("latitude", latitude)}","longitude":"{longitude}"',
        ]
        if modern:
            parts.append(f'"location":{{"type":"Point","coordinates":[{longitude},{latitude}]}}')
        else:
            parts.append(
                f'"location":{{"latitude":"{latitude}","longitude":"{longitude}",'
                '"human_address":"{\\"address\\": \\"\\", \\"city\\": \\"\\", \\"state\\": \\"\\", \\"zip\\": \\"\\"}"}'
            )
            parts.append(f'":@computed_region_efsh_h5xi":"{dice.between(10_000, 25_000)}"')
        return parts

    def _oddity(self, created: datetime) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """Values that take the place of others, and which of them are not of their column's type."""
        dice = self._dice
        match dice.between(0, 5):
            case 0:
                return {"closed_date": dice.pick(_ODD_DATES)}, ()
            case 1:
                return {"closed_date": _stamp(created - timedelta(days=dice.between(1, 400)))}, ()
            case 2:
                return {"incident_zip": dice.pick(_ODD_ZIPS)}, ()
            case 3:
                return {"latitude": "n/a"}, ("latitude",)
            case 4:
                return {"x_coordinate_state_plane": "12.5"}, ("x_coordinate_state_plane",)
            case _:
                return {"due_date": "TBD"}, ("due_date",)


def _stamp(moment: datetime) -> str:
    return moment.isoformat() + ".000"


def _weighted(items: "Iterable[tuple[Any, int]]") -> Sequence[Any]:
    return [item for item, weight in items for _ in range(weight)]


def _encoded(**values: str) -> str:
    """Members of a JSON object, without its braces."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _kind(complaint: Complaint) -> _Kind:
    return _Kind(
        agency=_encoded(agency=complaint.agency),
        name=_encoded(agency_name=AGENCIES[complaint.agency]),
        descriptors=tuple(_encoded(complaint_type=complaint.type, descriptor=d) for d in complaint.descriptors),
        place=_encoded(location_type=complaint.place) if complaint.place else "",
    )


def _area(place: Place) -> tuple[str, tuple[str, str]]:
    """A neighbourhood's members: its city, and the rest as it was written before and is written now."""
    rest = {
        "borough": place.borough,
        "park_facility_name": "Unspecified",
        "park_borough": place.borough,
    }
    modern = {"council_district": place.council, "police_precinct": place.precinct}
    return _encoded(city=place.city), (
        _encoded(community_board=place.board, **rest),
        _encoded(community_board=place.board, **modern, **rest),
    )
