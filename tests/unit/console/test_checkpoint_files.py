"""Which objects belong to a partition tree."""

import pytest

from contracts.targets import PartitionTarget
from services.console.checkpoint_files import destination_of, in_tree

TREE = PartitionTarget(
    kind="partitions",
    key="processed/year={created_date:%Y}/month={created_date:%m}/data_{run_date}.parquet",
    order_by="created_date",
    state_mirror="pipeline_state/last_run_timestamp.json",
)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("processed/year=2025/month=02/data_2025-02-21.parquet", True),
        ("processed/year=2025/month=%2F/data_2025-02-21.parquet", True),
        ("processed/year=2025/month=02/data_2025-02-21.parquet.part", False),
        ("processed/year=2025/month=02/deep/data_2025-02-21.parquet", False),
        ("processed/year=/month=02/data_2025-02-21.parquet", False),
        ("processed/year=2025/month=02/dataX2025-02-21Xparquet", False),
        ("processed/_SUCCESS", False),
        ("pipeline_state/last_run_timestamp.json", False),
    ],
)
def test_a_tree_holds_what_its_template_makes(key: str, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """Whatever else lies under the same prefix is somebody else's."""
    assert in_tree(TREE, key) is expected


def test_the_state_mirror_is_no_part_of_a_tree() -> None:
    """Not even where the template could have made its key."""
    loose = TREE.model_copy(update={"key": "{agency}/{run_date}"})
    assert in_tree(loose, "pipeline_state/2025-02-21")
    assert not in_tree(loose, "pipeline_state/last_run_timestamp.json")


def test_a_format_may_open_folders() -> None:
    """Slashes that the template itself writes are expected."""
    deep = TREE.model_copy(update={"key": "processed/{created_date:%Y/%m/%d}/{run_date}.parquet"})
    assert in_tree(deep, "processed/2025/02/21/2025-02-22.parquet")
    assert not in_tree(deep, "processed/2025/02/21/2025-02-22.json")


def test_a_checkpoint_is_named_by_bucket_and_key() -> None:
    """The key may have slashes, a bucket has none."""
    found = destination_of("bucket/a/b.parquet")
    assert (found.bucket, found.key, found.uri) == ("bucket", "a/b.parquet", "s3://bucket/a/b.parquet")
