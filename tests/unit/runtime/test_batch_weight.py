"""What a worker waits for, and what it does not."""

import json

import pytest

from services.runtime.deliveries import Delivery
from services.runtime.shells.weight import MUCH_BYTES, is_enough


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
    assert is_enough(deliveries) is expected


def test_a_small_object_may_stand_for_more() -> None:
    """What tells of a whole segment in a few kilobytes is handled at once, where the service says how its key ends."""
    assert is_enough([announced(10, 10)], stands_for_more="k1")
    assert not is_enough([announced(10)], stands_for_more="k1")
