"""Delivering S3 notifications again, as S3 and SQS do now and then."""

import asyncio
import json
from collections.abc import Sequence
from urllib.parse import quote_plus

from services.console.session import Session
from services.runtime.aws.errors import translated
from services.runtime.objects import ObjectInfo

VALIDATE_QUEUE = "validate-objects"


def notification(bucket: str, info: ObjectInfo) -> str:
    """The body of an object-created event, as it reaches a queue through a topic with raw delivery."""
    described = {"key": quote_plus(info.key, safe="/"), "size": info.size, "eTag": info.etag, "sequencer": "00"}
    if info.version_id is not None:
        described["versionId"] = info.version_id
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": described},
    }
    return json.dumps({"Records": [record]})


async def announce_again(session: Session, objects: Sequence[ObjectInfo]) -> None:
    """Deliver the notification of each object once more."""
    bucket = session.settings.resource("raw")
    sqs = session.clients.sqs
    with translated("deliver notifications again"):
        url = (await sqs.get_queue_url(QueueName=session.settings.resource(VALIDATE_QUEUE)))["QueueUrl"]
        bodies = [notification(bucket, info) for info in objects]
        await asyncio.gather(*(sqs.send_message(QueueUrl=url, MessageBody=body) for body in bodies))
