"""Which partition file a row belongs to."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from services.validator.core.partitions import partition

DAY = "2025-03-01"
AT = [datetime(2025, 1, 31, 23), datetime(2024, 12, 30), datetime(2025, 1, 1), None, datetime(1899, 1, 1)]  # noqa: DTZ001
ROWS = pl.DataFrame(
    {
        "row": [0, 1, 2, 3, 4],
        "at": AT,
        "day": [date(2025, 1, 31), date(2025, 1, 31), date(2025, 2, 1), date(2025, 2, 1), date(2025, 2, 1)],
        "seen": [None if at is None else at.replace(tzinfo=UTC) for at in AT],
        "city": ["NEW YORK", "a/b", "NEW YORK", None, ""],
    }
)
NONE = "__HIVE_DEFAULT_PARTITION__"


def keys(template: str, rows: pl.DataFrame = ROWS) -> dict[str, list[int]]:
    """The rows of each file, by its key."""
    parts = partition(template, "processed", DAY, rows)
    assert {destination.bucket for destination, _ in parts} == {"processed"}
    assert all(part.columns == rows.columns for _, part in parts)
    found = {destination.key: part["row"].to_list() for destination, part in parts}
    assert list(found) == sorted(found)
    return found


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "t/year={at:%Y}/month={at:%m}/data_{run_date}.parquet",
            {
                "t/year=1899/month=01/data_2025-03-01.parquet": [4],
                "t/year=2024/month=12/data_2025-03-01.parquet": [1],
                "t/year=2025/month=01/data_2025-03-01.parquet": [0, 2],
                f"t/year={NONE}/month={NONE}/data_2025-03-01.parquet": [3],
            },
        ),
        ("{seen:%G}", {"1898": [4], "2025": [0, 1, 2], NONE: [3]}),
        ("{seen:%Y%H}", {"189900": [4], "202400": [1], "202500": [2], "202523": [0], NONE: [3]}),
        ("{day}/{run_date}", {"2025-01-31/2025-03-01": [0, 1], "2025-02-01/2025-03-01": [2, 3, 4]}),
        ("{day:%d}", {"01": [2, 3, 4], "31": [0, 1]}),
        ("{city}", {"": [4], "NEW YORK": [0, 2], NONE: [3], "a%2Fb": [1]}),
        ("{row:03d}", {"000": [0], "001": [1], "002": [2], "003": [3], "004": [4]}),
        ("{day:%Y}/{city:.1}", {f"2025/{NONE}": [3], "2025/": [4], "2025/N": [0, 2], "2025/a": [1]}),
        ("all/{run_date}.parquet", {"all/2025-03-01.parquet": [0, 1, 2, 3, 4]}),
    ],
)
def test_a_key_is_filled_from_the_row_and_the_day_of_the_run(template: str, expected: dict[str, list[int]]) -> None:
    """Rows stay in their order; a slash in a value opens no folder, and no value has a name that engines know."""
    assert keys(template) == expected


def test_no_rows_are_one_part_for_the_verdicts() -> None:
    """Its key is one that no row can have."""
    assert keys("year={at:%Y}/{run_date}", ROWS.clear()) == {"year={at:%Y}/{run_date}": []}
