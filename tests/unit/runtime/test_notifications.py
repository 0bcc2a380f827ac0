"""S3 event notifications in every form in which they arrive."""

import json
from typing import Any

import pytest

from contracts.segments import Occurrence
from services.runtime.failures import MalformedError
from services.runtime.notifications import is_notification, read_notification


def created(key: Any = "events/a.json", **changes: Any) -> dict[str, Any]:
    """One record of a notification, as S3 writes it."""
    described = {"key": key, "size": 341, "eTag": "d41d8cd9", "versionId": "3HL4kq", "sequencer": "0055AED6"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "raw-objects",
            "bucket": {"name": "raw", "ownerIdentity": {"principalId": "A3"}, "arn": "arn:aws:s3:::raw"},
            "object": {name: value for name, value in {**described, **changes}.items() if value is not ...},
        },
    }


def body_of(*records: Any) -> str:
    """A notification with raw delivery."""
    return json.dumps({"Records": list(records)})


def wrapped(body: str) -> str:
    """The same as a topic without raw delivery hands it on."""
    return json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:::raw", "Message": body})


TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw", "RequestId": "5"})
EXPECTED = Occurrence(bucket="raw", key="events/a.json", version_id="3HL4kq", etag="d41d8cd9", size=341)


def test_raw_and_wrapped_notifications_say_the_same() -> None:
    """With or without SNS's envelope: every record, in order."""
    body = body_of(created(), created("events/b.json"))
    expected = [EXPECTED, EXPECTED.model_copy(update={"key": "events/b.json"})]
    assert read_notification(body) == expected
    assert read_notification(wrapped(body)) == expected


@pytest.mark.parametrize("body", [TEST_EVENT, wrapped(TEST_EVENT), body_of()])
def test_what_announces_nothing(body: str) -> None:
    """The test event of a new subscription and an empty notification are no error and no occurrence."""
    assert is_notification(body)
    assert read_notification(body) == []


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "ObjectRestore:Post"])
def test_events_that_create_nothing_are_skipped(name: str) -> None:
    """Only what was created is an occurrence; its neighbours in the notification stay."""
    assert read_notification(body_of({**created(), "eventName": name}, created())) == [EXPECTED]


@pytest.mark.parametrize(
    "name", ["ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy", "s3:ObjectCreated:Put"]
)
def test_every_way_to_create_counts(name: str) -> None:
    """Multipart uploads and copies create objects too, and EventBridge-style names carry a prefix."""
    assert read_notification(body_of({**created(), "eventName": name})) == [EXPECTED]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("events/a+b.json", "events/a b.json"),
        ("events/a%20b.json", "events/a b.json"),
        ("events/a%2Bb.json", "events/a+b.json"),
        ("events/100%2525.json", "events/100%25.json"),
        ("events/%C3%BC%3D%26%2F.json", "events/ü=&/.json"),
    ],
)
def test_keys_are_decoded_once(encoded: str, key: str) -> None:
    """A plus and %20 are spaces; what was a plus or a percent sign in the key is one again."""
    assert [o.key for o in read_notification(body_of(created(encoded)))] == [key]


@pytest.mark.parametrize("version", [None, "null", "", ...])
def test_without_a_version_the_etag_identifies(version: Any) -> None:
    """Buckets without versioning send no version, and suspended ones the text "null"."""
    (occurrence,) = read_notification(body_of(created(versionId=version)))
    assert (occurrence.version_id, occurrence.etag) == (None, "d41d8cd9")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '"text"',
        "9" * 5_000,
        "[" * 200_000,
        '{"Records": null}',
        '{"Records": 7}',
        '{"Records": ["text"]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": []}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": []}}]}',
        body_of(created(key=7)),
        body_of(created(key=...)),
        body_of(created(versionId=..., eTag=...)),
        body_of(created(size=-1)),
        '{"Type": "Notification"}',
        '{"Type": "Notification", "Message": "{"}',
        '{"Type": "Notification", "Message": {"Records": []}}',
        wrapped("[]"),
    ],
    ids=lambda body: body[:60],
)
def test_anything_else_is_malformed(body: str) -> None:
    """Whatever the body is, the answer is an error of ours: one bad body must not fail the batch around it."""
    with pytest.raises(MalformedError, match="S3 notification"):
        read_notification(body)


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", "7", "9" * 5_000, "[" * 200_000, '{"kind": "PlanRun", "body": {}}'],
    ids=lambda body: body[:60],
)
def test_what_is_not_meant_as_a_notification(body: str) -> None:
    """Our own messages and rubbish are left to whoever reads messages."""
    assert not is_notification(body)


@pytest.mark.parametrize("body", [body_of(created()), wrapped(body_of()), TEST_EVENT, '{"Records": 7}'])
def test_what_is_meant_as_a_notification(body: str) -> None:
    """Also a broken one, so that its error names the notification."""
    assert is_notification(body)
