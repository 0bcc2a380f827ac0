"""Reading S3 event notifications as they really arrive."""

import json
from typing import Any
from urllib.parse import unquote_plus

from contracts.segments import Occurrence
from services.runtime.failures import MalformedError


def read_notification(body: str) -> list[Occurrence]:
    """The occurrences that a notification announces.

    Accepts S3 → SQS, S3 → SNS → SQS raw and S3 → SNS → SQS wrapped. Keys are URL-decoded. ``s3:TestEvent`` and
    events that create nothing announce nothing.

    Raises:
        MalformedError: the body is none of these.
    """
    try:
        document = json.loads(body)
        if isinstance(document, dict) and document.get("Type") == "Notification":
            document = json.loads(document["Message"])
        if not isinstance(document, dict):
            raise MalformedError(f"an S3 notification is a JSON object, not {type(document).__name__}")
        if document.get("Event") == "s3:TestEvent":
            return []
        return [_occurrence(record) for record in document["Records"] if _creates(record)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"not an S3 notification: {type(error).__name__}: {error}") from error


def is_notification(body: str) -> bool:
    """Whether a body is meant to be a notification rather than one of our own messages."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # also numbers too long and nesting too deep for Python's reader
        return False
    return isinstance(document, dict) and bool({"Records", "Event", "Type"} & document.keys())


def _creates(record: dict[str, Any]) -> bool:
    return str(record["eventName"]).removeprefix("s3:").startswith("ObjectCreated:")


def _occurrence(record: dict[str, Any]) -> Occurrence:
    described = record["s3"]["object"]
    version = described.get("versionId")
    return Occurrence(
        bucket=record["s3"]["bucket"]["name"],
        key=unquote_plus(described["key"]),
        version_id=version if version and version != "null" else None,
        etag=described.get("eTag") or None,
        size=described.get("size"),
    )
