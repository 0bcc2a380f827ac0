"""What a worker waits for, and what it does not."""

import json

import pytest

from services.runtime.deliveries import Delivery
from services.runtime.shells.weight import MOST_BYTES, MUCH_BYTES, Wants, wanted


def announced(*sizes: int) -> Delivery:
    """A notification of objects of these sizes."""
    records = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": f"k{i}", "eTag": "e", "size": size}},
        }
        for i, size in enumerate(sizes)
    ]
    return Delivery("d", json.dumps({"Records": records}))


@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [
        ([], False),
        ([announced(300)] * 50, False),
        ([announced(MUCH_BYTES)], True),
        ([announced(MUCH_BYTES // 2), announced(100, MUCH_BYTES // 2)], True),
        ([Delivery("d", json.dumps({"kind": "ValidateSegment"}))], True),
        ([announced(300), Delivery("d", "{}")], True),
        ([Delivery("d", json.dumps({"Records": [{"eventName": 5}]}))], False),
        ([Delivery("d", json.dumps({"Event": "s3:TestEvent"}))], False),
    ],
)
def test_small_announcements_are_gathered(deliveries: list[Delivery], *, expected: bool) -> None:
    """Many small files make one batch; a command, or much to read, is handled at once."""
    assert (wanted(deliveries) is Wants.NOTHING) is expected
    assert (wanted(deliveries) is Wants.MORE) is not expected


def test_a_small_object_may_stand_for_more() -> None:
    """What tells of a whole segment in a few kilobytes is handled at once, where the service says how its key ends."""
    assert wanted([announced(10, 10)], stands_for_more="k1") is Wants.NOTHING
    assert wanted([announced(10)], stands_for_more="k1") is Wants.MORE


def test_what_is_committed_together_is_taken_along() -> None:
    """Where a batch is one commit it has what waits, too, but for what is shared by workers, and within limits."""
    for deliveries in ([announced(MUCH_BYTES)], [Delivery("d", json.dumps({"kind": "MergeSegment"}))]):
        assert wanted(deliveries, commits_together=True) is Wants.WAITING
    assert wanted([announced(10)], commits_together=True) is Wants.MORE
    assert wanted([announced(MOST_BYTES)], commits_together=True) is Wants.NOTHING
    assert wanted([announced(10, 10)], stands_for_more="k1", commits_together=True) is Wants.NOTHING
