"""One run followed through the log lines of every service."""

from collections.abc import Sequence
from random import Random
from typing import Any

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from contracts.envelope import Message
from services.runtime.deliveries import Delivery, Outcome
from tests.fakes.effects import Effects
from tests.property.collect_world import CollectWorld, declare
from tests.unit.chunk_worker.world import RUN
from tests.unit.chunk_worker.world import World as ChunkWorld


class Speaking(CollectWorld):
    """A fleet whose log lines say which service wrote them."""

    async def handle(self, queue: str, effects: Effects, batch: Sequence[Delivery]) -> Outcome:
        """See ``CollectWorld``."""
        with bound_contextvars(queue=queue):
            return await super().handle(queue, effects, batch)


async def follow() -> tuple[str, list[dict[str, Any]], Speaking]:
    """A run of ten rows in two ranges, the log lines of everybody, and the fleet."""
    world = Speaking(declare(batch_size=5), Random(7))  # noqa: S311 - the order of messages, not a secret
    for number in range(10):
        created = f"2025-12-{10 + number}T10:00:00.000"
        world.dataset.publish({"key": str(number), "created": created, "status": "Open", "value": "1"})
    with capture_logs([merge_contextvars]) as lines:
        run_id = await world.run()
    await world.assert_succeeded(run_id)
    return run_id, [dict(line) for line in lines], world


async def test_a_run_s_id_is_on_every_line_of_every_service() -> None:
    """From the first line of handling a delivery to the last, with the message, the pipeline and a trace."""
    run_id, lines, _ = await follow()
    assert {line["queue"] for line in lines} == {
        "plan-requests",
        "fetch-segments",
        "validate-objects",
        "merge-segments",
    }
    for line in lines:
        assert run_id in line["run_id"], line
        assert line["pipeline"] == "requests", line
        assert line["message_id"], line
        assert line["trace_id"], line
    assert all(line["segment_id"] for line in lines if line["queue"] != "plan-requests")


async def test_a_trace_goes_from_hop_to_hop() -> None:
    """The fetcher's lines have the planner's trace; behind S3, which carries none, the run's id goes on."""
    _, lines, world = await follow()
    traces = {
        queue: {line["trace_id"] for line in lines if line["queue"] == queue}
        for queue in ("plan-requests", "fetch-segments", "merge-segments")
    }
    assert traces["fetch-segments"] == traces["plan-requests"]
    assert len(traces["plan-requests"]) == 1
    facts = [Message.model_validate_json(text) for text in world.publisher.facts]
    assert all(fact.trace is not None for fact in facts)
    (completed,) = [fact.trace for fact in facts if fact.kind == "RunCompleted"]
    assert completed is not None
    assert any(root in completed for root in traces["merge-segments"])


async def test_a_chunk_s_lines_name_the_chunk() -> None:
    """Also those about a message that nobody can read, as far as it says what it is."""
    world = ChunkWorld()
    await world.plan()
    with capture_logs([merge_contextvars]) as lines:
        await world.deliver(world.chunk("0"))
    assert lines
    for line in lines:
        assert (line["run_id"], line["chunk_id"], line["message_id"]) == (RUN, "0", "m0"), line
        assert line["trace_id"], line
