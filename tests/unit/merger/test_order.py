import pyarrow as pa

from services.merger.adapters.tables import greatest, sort_stable


def test_rows_without_a_value_come_last() -> None:
    """Also where the others are in order already; the greatest value is that of a row that has one."""
    for values in ([1, None, 0], [None, 0, 1], [0, 1, None], [None, 1, 0]):
        table = sort_stable(pa.table({"n": values}), "n")
        assert table.column("n").to_pylist() == [0, 1, None]
        assert greatest(table, "n") == "1"


def test_ties_keep_their_order() -> None:
    """Rows with one value, and rows without any, stay as they came."""
    table = pa.table({"n": [2, None, 1, 2, None, 1], "row": range(6)})
    assert sort_stable(table, "n").column("row").to_pylist() == [2, 5, 0, 3, 1, 4]


def test_nothing_is_the_greatest_of_nothing() -> None:
    """Neither a table without rows nor one without values has a greatest value."""
    for values in ([], [None, None]):
        assert greatest(pa.table({"n": pa.array(values, pa.int64())}), "n") is None
