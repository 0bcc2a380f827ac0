import pytest

from services.console.demo.home_care import HomeCare, fill
from tests.integration.conflict_report.report_support import FIRST_DAY, Connection, create, digest
from tests.postgres_support import Database

TROUBLE = {
    "rows": "true",
    "without SSN": '"SSN" IS NULL',
    "an empty SSN": "\"SSN\" = ''",
    "quotes in the SSN": "\"SSN\" LIKE '%''%\"%'",
    "more than ASCII in the SSN": 'octet_length("SSN") > length("SSN")',
    "no scheduled start": '"SchStartTime" IS NULL',
    "begun and not ended": '"VisitStartTime" IS NOT NULL AND "VisitEndTime" IS NULL',
    "no duration": '"SchStartTime" = "SchEndTime"',
    "no coordinates": '"PLatitude" IS NULL',
    "no zip code": '"PZipCode" IS NULL',
    "the VisitID of another": '"VisitID" IN (SELECT "VisitID" FROM conflictvisitmaps GROUP BY 1 HAVING count(*) > 1)',
    "the large key": "\"SSN\" = '000-000000'",
}


async def test_all_kinds_of_trouble_are_there(connection: Connection) -> None:
    """Generated visits are as many as asked for, have every kind of trouble, and one key of the size asked for."""
    await fill(connection, HomeCare(visits=8_000, first_day=FIRST_DAY, skewed=700))
    filters = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in TROUBLE.values())
    row = await connection.fetchrow(f"SELECT {filters} FROM conflictvisitmaps")  # noqa: S608 - our own words
    seen = dict(zip(TROUBLE, row, strict=True))
    assert all(seen.values()), seen
    assert (seen["rows"], seen["the large key"]) == (8_000, 700)
    assert await connection.fetchval("SELECT count(*) FROM conflicts") == 8_000 // 3


async def test_the_same_seed_makes_the_same_visits(connection: Connection, database: Database) -> None:
    """Another start with the same numbers makes the same rows; another seed does not."""
    await fill(connection, HomeCare(visits=500, first_day=FIRST_DAY))
    first = await digest(connection)
    for seed, same in ((2026, True), (2027, False)):
        database.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        await connection.reload_schema_state()
        await create(connection)
        await fill(connection, HomeCare(visits=500, first_day=FIRST_DAY, seed=seed))
        assert (await digest(connection) == first) is same


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"visits": 0}, "visits must be from 1 to 1,000,000, not 0"),
        ({"visits": 10, "skewed": 11}, "skewed must be from 0 to 10, not 11"),
        ({"visits": 10, "days": 0}, "days must be at least 1, not 0"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, int], complaint: str) -> None:
    """What cannot be generated is refused in one line that says why."""
    with pytest.raises(ValueError, match=complaint):
        HomeCare(first_day=FIRST_DAY, **numbers)
