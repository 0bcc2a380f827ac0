"""Strict producers, tolerant consumers: what the envelope lets through and what it refuses."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from pydantic import ValidationError

from contracts.catalog import MERGER_COMMANDS, MESSAGES, PLANNER_COMMANDS
from contracts.envelope import Message, Payload, UnreadableMessageError, open_message
from contracts.runs import PlanRun, RunMode, ScanPayload
from contracts.segments import MergeSegment, Occurrence

MESSAGE_ID = UUID("00000000-0000-4000-8000-000000000001")
NOON = datetime(2024, 1, 15, 12, 0, tzinfo=UTC)


def wrapped(payload: Payload) -> dict[str, Any]:
    """A message as it lies in a queue, parsed for changing."""
    message = Message.wrap(payload, message_id=MESSAGE_ID, run_id="run-1", occurred_at=NOON, trace="Root=1-2-3")
    document: dict[str, Any] = json.loads(message.model_dump_json())
    return document


def plan() -> PlanRun:
    return PlanRun(
        pipeline="visit_events",
        run_id="run-1",
        mode=RunMode.REPLAY,
        payload=ScanPayload(prefix="events/", since_timestamp=NOON),
        occurrences=[Occurrence(bucket="raw", key="events/a.json", version_id="v1", size=3)],
    )


def test_a_message_opens_as_what_was_wrapped() -> None:
    """The payload survives the journey, and the envelope says who, what and for which run."""
    message, payload = open_message(json.dumps(wrapped(plan())), PLANNER_COMMANDS)
    assert payload == plan()
    assert (message.id, message.kind, message.run_id) == (MESSAGE_ID, "PlanRun", "run-1")
    assert (message.occurred_at, message.trace, message.schema_version) == (NOON, "Root=1-2-3", 1)


def test_bytes_open_like_text() -> None:
    """A body may come as bytes."""
    assert open_message(json.dumps(wrapped(plan())).encode(), MESSAGES)[1] == plan()


def test_one_request_has_one_dedup_id() -> None:
    """Two envelopes around equal payloads are recognised as one request."""
    assert wrapped(plan())["dedup_id"] == wrapped(plan())["dedup_id"] == "run-1"
    other = MergeSegment(bucket="validated", key="a.parquet")
    assert wrapped(other)["dedup_id"] == "validated/a.parquet"


def test_a_consumer_ignores_fields_it_does_not_know() -> None:
    """In the envelope, in the payload, in a nested model and in a list of them: producers may be newer."""
    document = wrapped(plan())
    document["added"] = 1
    document["body"]["added"] = 2
    document["body"]["payload"]["added"] = 3
    document["body"]["occurrences"][0]["added"] = {"deep": 4}
    message, payload = open_message(json.dumps(document), MESSAGES)
    assert payload == plan()
    assert "added" not in message.model_dump()


def test_a_producer_cannot_send_an_undeclared_field() -> None:
    """A typing error at the sender is an error at the sender, also in a nested model."""
    with pytest.raises(ValidationError, match="added"):
        PlanRun.model_validate({"pipeline": "a", "run_id": "r", "added": 1})
    with pytest.raises(ValidationError, match=r"payload\.added"):
        PlanRun.model_validate({"pipeline": "a", "run_id": "r", "payload": {"added": 1}})
    with pytest.raises(ValidationError, match="added"):
        Message.model_validate({**wrapped(plan()), "added": 1})


def test_a_message_cannot_be_changed() -> None:
    """What was sent is a fact; code that wants another message builds another one."""
    payload = plan()
    with pytest.raises(ValidationError, match="frozen"):
        payload.run_id = "run-2"  # type: ignore[misc]


def test_a_newer_schema_version_is_refused() -> None:
    """Its meaning may have changed; the text says which service to upgrade first."""
    document = {**wrapped(plan()), "schema_version": 2}
    with pytest.raises(UnreadableMessageError, match=r"PlanRun has schema version 2, newer than 1: upgrade"):
        open_message(json.dumps(document), MESSAGES)


def test_an_older_schema_version_is_read() -> None:
    """A consumer of version 2 reads version 1 as long as the payload validates."""

    class PlanRunLater(PlanRun):
        schema_version: ClassVar[int] = 2

    _, payload = open_message(json.dumps(wrapped(plan())), {"PlanRun": PlanRunLater})
    assert isinstance(payload, PlanRunLater)
    assert payload.model_dump() == plan().model_dump()


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """A message on the wrong queue says so."""
    with pytest.raises(
        UnreadableMessageError,
        match=r"unknown message kind 'PlanRun'; expected one of \['MergeSegment', 'RestoreCheckpoint', 'WriteParts'\]",
    ):
        open_message(json.dumps(wrapped(plan())), MERGER_COMMANDS)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "not a message envelope: the whole body: Invalid JSON"),
        ("{", "not a message envelope: the whole body: Invalid JSON"),
        ("[]", "not a message envelope: the whole body: Input should be an object"),
        ("{}", "not a message envelope: id: Field required"),
    ],
)
def test_a_body_that_is_no_envelope_is_refused(body: str, text: str) -> None:
    """Foreign messages are refused with the place of the first mistake."""
    with pytest.raises(UnreadableMessageError) as caught:
        open_message(body, MESSAGES)
    assert str(caught.value).startswith(text)


def test_a_malformed_payload_is_refused_with_kind_and_place() -> None:
    """One line: which message, where in it, and what is wrong."""
    document = wrapped(plan())
    document["body"]["occurrences"][0]["size"] = -1
    with pytest.raises(UnreadableMessageError) as caught:
        open_message(json.dumps(document), MESSAGES)
    assert str(caught.value) == ("PlanRun is malformed: occurrences.0.size: Input should be greater than or equal to 0")


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_message_travels_under_its_own_name(name: str) -> None:
    """The catalogue knows every kind by the name on its envelope."""
    assert MESSAGES[name].kind() == name
    assert MESSAGES[name].schema_version >= 1
