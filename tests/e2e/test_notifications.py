"""What S3 and SQS do to notifications: repeat, reorder, wrap, lose."""

import json
from datetime import UTC, datetime

from services.console.demo.dice import Dice
from services.console.demo.notifications import notification
from services.console.demo.visit_events import Upload, generate
from tests.e2e.fleet import Fleet
from tests.e2e.world import World

QUEUE = "validate-objects"


def _wrapped(body: str) -> str:
    """A body as a topic without raw delivery hands it on."""
    return json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:::raw", "Message": body})


async def test_repeated_reordered_and_wrapped_notifications_count_once(world: World, fleet: Fleet) -> None:
    """Each notification comes again one to three times, shuffled, some wrapped by SNS, among test events.

    Nothing of it adds a row. Putting the same files again does: new versions are new occurrences, and so does an
    event that is older than everything in the checkpoint. Keys arrive URL-encoded and are read as they are.
    """
    fleet.start("validator")
    fleet.start("merger")
    dice = Dice(2)
    uploads = generate(21, 120)
    odd = next(u for u in uploads if u.kind == "submit" and u.expected == "merged")
    odd = Upload("log-submit-20240102-080000-42-a b+c=ü%41&-ABC123-01.json", odd.body, "merged", kind="odd-key")
    made = await world.put([*uploads, odd])
    bodies = [notification(world.raw, info) for info in made for _ in range(dice.between(1, 3))]
    bodies = [_wrapped(body) if dice.chance(0.3) else body for body in bodies]
    test_event = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": world.raw})
    await world.send(QUEUE, dice.shuffled([*bodies, test_event, _wrapped(test_event)]))
    await world.idle()
    await world.check()

    again = [upload for upload in uploads if upload.expected == "merged"][:40]
    event = json.loads(odd.body) | {"timestamp": "1999-12-31T23:59:59Z"}
    late = Upload("log-submit-19991231-235959-42-late-ABC123-01.json", json.dumps(event).encode(), "merged")
    await world.send(QUEUE, dice.shuffled([notification(world.raw, info) for info in made]))
    second = await world.put([*again, late])
    await world.send(QUEUE, dice.shuffled([notification(world.raw, info) for info in [*made, *second]]))
    await world.idle()
    await world.check()
    assert (await world.rows())[0][-1] == datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
