"""An occurrence is one object version; its identity decides what counts once."""

import pytest
from pydantic import ValidationError

from contracts.segments import Occurrence

BASE = Occurrence(bucket="raw", key="events/a.json", version_id="v1", etag="e1", size=10)


def test_the_same_version_is_the_same_occurrence() -> None:
    """Neither size nor ETag make a second occurrence of a version: notifications and listings differ in them."""
    again = Occurrence(bucket="raw", key="events/a.json", version_id="v1")
    assert again.id == BASE.id
    assert len(BASE.id) == 32
    assert set(BASE.id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "other",
    [
        BASE.model_copy(update={"bucket": "raw2"}),
        BASE.model_copy(update={"key": "events/b.json"}),
        BASE.model_copy(update={"version_id": "v2"}),
        BASE.model_copy(update={"version_id": None}),
    ],
)
def test_another_place_or_version_is_another_occurrence(other: Occurrence) -> None:
    """Equal content under another key, or put again under the same key, stays in the audit trail."""
    assert other.id != BASE.id


def test_without_versions_the_etag_decides() -> None:
    """In a bucket that keeps no versions, new content is a new occurrence."""
    first = Occurrence(bucket="raw", key="a", etag="e1")
    assert first.id == Occurrence(bucket="raw", key="a", etag="e1", size=5).id
    assert first.id != Occurrence(bucket="raw", key="a", etag="e2").id


def test_a_version_id_and_an_equal_etag_are_kept_apart() -> None:
    """An ETag that happens to read like a version id names something else."""
    assert Occurrence(bucket="raw", key="a", etag="x").id != Occurrence(bucket="raw", key="a", version_id="x").id


def test_bucket_and_key_cannot_run_into_one_another() -> None:
    """The boundary between the parts counts."""
    assert Occurrence(bucket="ab", key="c", etag="e").id != Occurrence(bucket="a", key="bc", etag="e").id


def test_the_identity_never_changes_between_releases() -> None:
    """Marks in the index outlive the code that wrote them, so the derivation is fixed."""
    assert BASE.id == "c8bbb97536492ba82cfe4776fee7b44c"


@pytest.mark.parametrize("empty", [None, ""])
def test_an_object_without_version_and_etag_is_refused(empty: str | None) -> None:
    """Nothing could tell it from its next version; the text names the object."""
    with pytest.raises(ValidationError, match="s3://raw/a has neither a version id nor an ETag"):
        Occurrence(bucket="raw", key="a", version_id=empty, etag=empty)
