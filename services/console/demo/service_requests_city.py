"""The city of the generated service requests: who is in charge, what people complain of, and where they live."""

from typing import NamedTuple

AGENCIES = {
    "NYPD": "New York City Police Department",
    "HPD": "Department of Housing Preservation and Development",
    "DSNY": "Department of Sanitation",
    "DEP": "Department of Environmental Protection",
    "DOT": "Department of Transportation",
    "DPR": "Department of Parks and Recreation",
    "DOB": "Department of Buildings",
    "DOHMH": "Department of Health and Mental Hygiene",
    "DHS": "Department of Homeless Services",
    "TLC": "Taxi and Limousine Commission",
    "DCWP": "Department of Consumer and Worker Protection",
    "EDC": "Economic Development Corporation",
}

STATUSES = (
    ("Closed", 517),
    ("In Progress", 262),
    ("Open", 202),
    ("Assigned", 5),
    ("Started", 3),
    ("Pending", 3),
    ("Unspecified", 2),
    ("Closed - Testing", 1),
    ("Email Sent", 1),
    ("Unassigned", 1),
    ("Draft", 1),
    ("Cancel", 1),
)
"""All that exist, with how many of about a thousand requests have them."""

CHANNELS = (("ONLINE", 48), ("MOBILE", 25), ("PHONE", 23), ("UNKNOWN", 4))


class Complaint(NamedTuple):
    """A kind of request; ``weight`` says how many of about a thousand are of it."""

    weight: int
    agency: str
    type: str
    descriptors: tuple[str, ...]
    place: str
    """Type of location; empty where none is recorded."""


_STREET, _HOUSE, _HOME = "Street/Sidewalk", "Residential Building/House", "RESIDENTIAL BUILDING"

COMPLAINTS = tuple(
    Complaint(*row)
    for row in (
        (
            150,
            "NYPD",
            "Illegal Parking",
            ("Blocked Hydrant", "Blocked Sidewalk", "Posted Parking Sign Violation"),
            _STREET,
        ),
        (180, "NYPD", "Noise - Residential", ("Loud Music/Party", "Banging/Pounding", "Loud Talking"), _HOUSE),
        (120, "NYPD", "Noise - Street/Sidewalk", ("Loud Music/Party", "Loud Talking"), _STREET),
        (60, "NYPD", "Blocked Driveway", ("No Access", "Partial Access"), _STREET),
        (35, "NYPD", "Noise - Commercial", ("Loud Music/Party", "Car/Truck Music"), "Club/Bar/Restaurant"),
        (30, "NYPD", "Noise - Vehicle", ("Car/Truck Music", "Car/Truck Horn", "Engine Idling"), _STREET),
        (20, "NYPD", "Abandoned Vehicle", ("With License Plate",), _STREET),
        (15, "NYPD", "Encampment", ("N/A",), _STREET),
        (8, "NYPD", "Noise - Park", ("Loud Music/Party",), "Park/Playground"),
        (45, "HPD", "HEAT/HOT WATER", ("ENTIRE BUILDING", "APARTMENT ONLY"), _HOME),
        (40, "HPD", "UNSANITARY CONDITION", ("MOLD", "PESTS", "GARBAGE/RECYCLING STORAGE"), _HOME),
        (22, "HPD", "WATER LEAK", ("HEAVY FLOW", "SLOW LEAK"), _HOME),
        (18, "HPD", "PLUMBING", ("WATER SUPPLY", "TOILET", "BATHTUB/SHOWER"), _HOME),
        (18, "HPD", "PAINT/PLASTER", ("CEILING", "WALL"), _HOME),
        (12, "HPD", "ELECTRIC", ("OUTLET/SWITCH", "POWER OUTAGE"), _HOME),
        (25, "DSNY", "Dirty Condition", ("Trash", "Dog Waste"), "Sidewalk"),
        (20, "DSNY", "Missed Collection", ("Trash", "Recycling - Paper"), "Street"),
        (15, "DSNY", "Illegal Dumping", ("Removal Request",), "Sidewalk"),
        (30, "DEP", "Water Maintenance", ("Hydrant Running (WC3)", "Leak (Use Comments) (WA2)"), ""),
        (22, "DEP", "Sewer Maintenance", ("Catch Basin Clogged/Flooding (SC)", "Sewer Backup (SA)"), ""),
        (15, "DEP", "Noise", ("Noise, Barking Dog (NR5)", "Noise: Alarms (NR3)"), ""),
        (20, "DOT", "Street Condition", ("Pothole", "Cave-in"), ""),
        (18, "DOT", "Traffic Signal Condition", ("Controller", "Veh Signal Lamp"), ""),
        (12, "DOT", "Street Light Condition", ("Street Light Out",), ""),
        (18, "DPR", "Damaged Tree", ("Branch or Limb Has Fallen Down", "Tree Leaning/Uprooted"), "Street"),
        (12, "DPR", "Maintenance or Facility", ("Unsecured Facility", "Rodent Sighting"), "Park"),
        (20, "DOB", "General Construction/Plumbing", ("Cons - Contrary/Beyond Approved Plans/Permits",), ""),
        (14, "DOHMH", "Rodent", ("Rat Sighting", "Condition Attracting Rodents"), "3+ Family Apt. Building"),
        (6, "DOHMH", "Food Establishment", ("Rodents/Insects/Garbage",), "Restaurant/Bar/Deli/Bakery"),
        (10, "DHS", "Homeless Person Assistance", ("Chronic",), _STREET),
        (6, "TLC", "For Hire Vehicle Complaint", ("Driver Complaint - Passenger",), "Street"),
        (5, "DCWP", "Consumer Complaint", ("Overcharge", "Exchange/Refund/Return"), "Business"),
        (1, "EDC", "Noise - Helicopter", ("Other",), "Above Address"),
    )
)


class Place(NamedTuple):
    """A neighbourhood: its centre in degrees and in feet of the state plane (NAD 83, Long Island)."""

    borough: str
    city: str
    zip: str
    board: str
    council: str
    precinct: str
    latitude: float
    longitude: float
    x: int
    y: int


PLACES = tuple(
    Place(*row)
    for row in (
        ("BRONX", "BRONX", "10463", "08 BRONX", "14", "Precinct 50", 40.8732, -73.9043, 1010722, 257422),
        ("BRONX", "BRONX", "10458", "07 BRONX", "15", "Precinct 52", 40.8682, -73.8911, 1014360, 255589),
        ("BRONX", "BRONX", "10456", "04 BRONX", "16", "Precinct 44", 40.8361, -73.9114, 1008769, 243912),
        ("BRONX", "BRONX", "10472", "09 BRONX", "17", "Precinct 43", 40.833, -73.8764, 1018456, 242776),
        ("BROOKLYN", "BROOKLYN", "11230", "12 BROOKLYN", "44", "Precinct 66", 40.6244, -73.9705, 992433, 166759),
        ("BROOKLYN", "BROOKLYN", "11226", "14 BROOKLYN", "45", "Precinct 70", 40.6411, -73.9553, 996649, 172851),
        ("BROOKLYN", "BROOKLYN", "11206", "03 BROOKLYN", "36", "Precinct 79", 40.6973, -73.9516, 997667, 193343),
        ("BROOKLYN", "BROOKLYN", "11201", "02 BROOKLYN", "33", "Precinct 84", 40.6883, -73.9843, 988598, 190041),
        ("BROOKLYN", "BROOKLYN", "11236", "18 BROOKLYN", "46", "Precinct 69", 40.6313, -73.8947, 1013472, 169305),
        ("BROOKLYN", "BROOKLYN", "11223", "15 BROOKLYN", "44", "Precinct 61", 40.5966, -73.9704, 992462, 156620),
        ("MANHATTAN", "NEW YORK", "10029", "11 MANHATTAN", "08", "Precinct 23", 40.795, -73.9449, 999518, 228922),
        ("MANHATTAN", "NEW YORK", "10002", "03 MANHATTAN", "01", "Precinct 7", 40.7198, -73.9873, 987766, 201503),
        ("MANHATTAN", "NEW YORK", "10040", "12 MANHATTAN", "10", "Precinct 34", 40.8601, -73.931, 1003335, 252644),
        ("MANHATTAN", "NEW YORK", "10016", "06 MANHATTAN", "04", "Precinct 17", 40.7409, -73.9745, 991316, 209219),
        ("QUEENS", "WOODHAVEN", "11421", "09 QUEENS", "32", "Precinct 102", 40.6951, -73.8589, 1023385, 192545),
        ("QUEENS", "JACKSON HEIGHTS", "11372", "03 QUEENS", "25", "Precinct 115", 40.7474, -73.8865, 1015703, 211586),
        ("QUEENS", "RIDGEWOOD", "11385", "05 QUEENS", "34", "Precinct 104", 40.704, -73.9042, 1010802, 195788),
        ("QUEENS", "ASTORIA", "11106", "01 QUEENS", "22", "Precinct 114", 40.7596, -73.9295, 1003783, 216044),
        ("QUEENS", "FLUSHING", "11355", "07 QUEENS", "20", "Precinct 109", 40.7552, -73.8208, 1033887, 214457),
        (
            "STATEN ISLAND",
            "STATEN ISLAND",
            "10306",
            "02 STATEN ISLAND",
            "50",
            "Precinct 122",
            40.5735,
            -74.1176,
            951573,
            148236,
        ),
    )
)

STREETS = (
    *("BROADWAY", "GRAND CONCOURSE", "JAMAICA AVENUE", "ROOSEVELT AVENUE", "ATLANTIC AVENUE", "OCEAN PARKWAY"),
    *("EAST   19 STREET", "WEST  141 STREET", "78 STREET", "113 AVENUE", "SOUTH    4 STREET", "5 AVENUE"),
    *("FLATBUSH AVENUE", "HYLAN BOULEVARD", "WILLETS POINT BOULEVARD", "O'BRIEN PLACE", 'D\'ARCY "COURT"'),
    *("MALCOLM X BOULEVARD", "AVENIDA PEÑA", "STERLING PLACE", "WALTON AVENUE", "COOPER STREET", "ST NICHOLAS AVENUE"),
)
"""With spaces, quotes and letters beyond ASCII, as they occur."""

CLOSING_WORDS = (
    "Officers came to the address, and the condition was corrected.",
    (
        "Officers came to the address and found nothing that is against the law at that time. If it goes on, please "
        "open a new request with as many details as you have, so that we know when to come and whom to speak with."
    ),
    (
        "An inspector visited the building and wrote a notice of violation. The owner has thirty days to correct the "
        "condition; until then the request stays on record, and the inspector may come again without an appointment."
    ),
    (
        "The condition that you describe was already reported by a neighbour. Both requests are handled as one, and "
        "the answer to the first one is the answer to yours; nothing more is needed from you."
    ),
    "A crew was sent out and repaired it.",
)
"""Resolution descriptions of closed requests, of very different lengths."""

PROGRESS_WORDS = (
    "The request was handed to the maintenance unit of the district.",
    (
        "We could not reach anybody at the address and will try once more. Please make sure that an inspector can "
        "enter; if nobody is there the second time either, the request is closed without an inspection."
    ),
)
"""Resolution descriptions of requests that are not closed yet."""
