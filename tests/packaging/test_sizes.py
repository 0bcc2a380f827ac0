"""What a build weighs, against the limits of Lambda."""

from pathlib import Path

import pytest

from infra.packages.archives import Archive
from infra.packages.build import Built
from infra.packages.sizes import DIRECT_LIMIT, MB, UNZIPPED_LIMIT, table, violations, weighed
from infra.packages.wheels import Target
from tests.packaging.packages_support import PACKAGES

TARGET = Target("3.12", "x86_64", "2.28")


def built(*, layer: int, zipped: int = 1) -> Built:
    """A build whose functions have no size of their own, and all of whose layers have one; in bytes."""

    def archive(unzipped: int) -> Archive:
        return Archive(Path("x.zip"), zipped, unzipped, "0" * 64, "")

    return Built({name: archive(0) for name in PACKAGES.functions}, {name: archive(layer) for name in PACKAGES.layers})


def test_a_function_weighs_what_it_and_its_layers_do() -> None:
    """Optional layers are counted by themselves."""
    weights = weighed(PACKAGES, built(layer=10 * MB), TARGET)
    fetcher = weights["functions"]["fetcher"]
    assert fetcher["layers"] == ["powertools", "aws_sdk", "data_arrow", "sources"]
    assert fetcher["unzipped_with_layers"] == 40 * MB
    assert fetcher["unzipped_with_all_layers"] == 50 * MB


def test_a_function_that_is_too_large_is_named() -> None:
    """With any of its layers: whoever attaches an optional one must not be refused."""
    assert violations(weighed(PACKAGES, built(layer=UNZIPPED_LIMIT // 5), TARGET)) == []
    assert violations(weighed(PACKAGES, built(layer=UNZIPPED_LIMIT // 5 + MB), TARGET)) == [
        "fetcher: 255.0 MB unzipped with all its layers, and Lambda takes 250.0 MB"
    ]


@pytest.mark.parametrize(("zipped", "upload"), [(DIRECT_LIMIT, "direct"), (DIRECT_LIMIT + 1, "through S3")])
def test_the_table_says_what_has_to_go_through_s3(zipped: int, upload: str) -> None:
    """A request takes 50 MB."""
    lines = list(table(weighed(PACKAGES, built(layer=MB, zipped=zipped), TARGET)))
    assert [line.endswith(upload) for line in lines if line.startswith("aws_sdk")] == [True]
