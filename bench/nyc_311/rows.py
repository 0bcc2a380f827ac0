"""Service requests for the benchmarks: rows of about 1 KB in the source's wire form, each a function of its number.

Many share their ``created_date`` with others, ``unique_key`` does not grow with time, and ``location`` has either of
the two shapes that the real dataset has had.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Any

Row = dict[str, Any]

_KEYS = 20_000_003  # a prime, so that the keys of different numbers differ
_STRIDE = 7_368_787
_TIES = (1, 1, 1, 2, 1, 1, 3, 1, 1, 1, 2, 1, 13, 1, 1, 4)
_AGENCIES = (
    ("NYPD", "New York City Police Department", "Noise - Residential", "Loud Music/Party"),
    ("HPD", "Department of Housing Preservation and Development", "HEAT/HOT WATER", "ENTIRE BUILDING"),
    ("DSNY", "Department of Sanitation", "Dirty Condition", "Trash"),
    ("DOT", "Department of Transportation", "Street Condition", "Pothole"),
    ("DEP", "Department of Environmental Protection", "Water System", "Hydrant Running (WC3)"),
)
_BOROUGHS = ("BRONX", "BROOKLYN", "MANHATTAN", "QUEENS", "STATEN ISLAND")
_STREETS = ("BROADWAY", "GRAND CONCOURSE", "ATLANTIC AVENUE", "113 AVENUE", "WEST 42 STREET", "HYLAN BOULEVARD")
_FOUND = "The agency has looked into the complaint and will inspect the place again within the next ten days."


class Requests:
    """Makes rows; no two of one maker have the same key."""

    def __init__(self) -> None:
        self._numbers = count()

    def row(self, created: datetime, status: str | None = None) -> Row:
        """The next row, created at this moment; it is one that is collected unless ``status`` says otherwise."""
        number = next(self._numbers)
        dice = Random(number)  # noqa: S311 - sample data, not a secret
        agency, agency_name, complaint, descriptor = dice.choice(_AGENCIES)
        borough, street, cross = dice.choice(_BOROUGHS), dice.choice(_STREETS), dice.choice(_STREETS)
        latitude, longitude = round(40.5 + dice.random() / 2, 12), round(-74.2 + dice.random() / 2, 12)
        house = str(dice.randint(1, 4_000))
        return {
            "unique_key": str(40_000_000 + number * _STRIDE % _KEYS),
            "created_date": created.isoformat(timespec="milliseconds"),
            "agency": agency,
            "agency_name": agency_name,
            "complaint_type": complaint,
            "descriptor": descriptor,
            "location_type": "Residential Building/House",
            "incident_zip": str(dice.randint(10_001, 11_697)),
            "incident_address": f"{house} {street}",
            "street_name": street,
            "cross_street_1": cross,
            "cross_street_2": dice.choice(_STREETS),
            "intersection_street_1": cross,
            "intersection_street_2": street,
            "address_type": "ADDRESS",
            "city": borough,
            "landmark": street,
            "status": status or dice.choice(("Open", "Open", "In Progress")),
            "resolution_description": _FOUND,
            "resolution_action_updated_date": (created + timedelta(hours=3)).isoformat(timespec="milliseconds"),
            "community_board": f"{dice.randint(1, 18):02d} {borough}",
            "bbl": str(dice.randint(10**9, 5 * 10**9)),
            "borough": borough,
            "x_coordinate_state_plane": str(dice.randint(913_000, 1_067_000)),
            "y_coordinate_state_plane": str(dice.randint(121_000, 272_000)),
            "open_data_channel_type": dice.choice(("PHONE", "ONLINE", "MOBILE")),
            "park_facility_name": "Unspecified",
            "park_borough": borough,
            "latitude": str(latitude),
            "longitude": str(longitude),
            "location": _location(dice, latitude, longitude),
        }

    def spread(self, amount: int, first: datetime, last: datetime, status: str | None = None) -> Iterator[Row]:
        """Rows over a window, both ends included, many of them sharing their moment with others."""
        sizes = list(_ties(amount))
        step = (last - first) / max(len(sizes) - 1, 1)
        for index, size in enumerate(sizes):
            nearest = first + index * step + timedelta(milliseconds=500)
            yield from self.together(size, nearest.replace(microsecond=0), status)

    def together(self, amount: int, moment: datetime, status: str | None = None) -> Iterator[Row]:
        """Rows of one moment."""
        return (self.row(moment, status) for _ in range(amount))


def keys_of(rows: Iterable[Row]) -> frozenset[str]:
    """The rows' unique keys."""
    return frozenset(row["unique_key"] for row in rows)


def write(rows: Iterable[Row], path: Path) -> Path:
    """Write rows as a file that the source can load."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    return path


def _ties(amount: int) -> Iterator[int]:
    """How many rows each moment has, ``amount`` in all."""
    for size in cycle(_TIES):
        if amount <= size:
            yield amount
            return
        yield size
        amount -= size


def _location(dice: Random, latitude: float, longitude: float) -> Row:
    if dice.random() < 1 / 2:
        return {"type": "Point", "coordinates": [longitude, latitude]}
    address = json.dumps({"address": "", "city": "", "state": "", "zip": ""})
    return {"latitude": str(latitude), "longitude": str(longitude), "human_address": address}
