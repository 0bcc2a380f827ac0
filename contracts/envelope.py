"""The envelope every message travels in, and the claim check that stands for a large payload.

Producers are strict: a message is built from a declared model, and an undeclared field is an error. Consumers
are tolerant: ``open_message`` ignores fields it does not know, so a producer may be upgraded first. A schema
version that is newer than the consumer's is refused, because its meaning may have changed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

Json = dict[str, Any]


class Contract(BaseModel):
    """Base of everything that crosses a boundary: immutable, and strict about undeclared fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClaimCheck(Contract):
    """A reference to a payload in S3 that is too large for a message (256 KiB)."""

    bucket: str
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: NonNegativeInt = Field(description="bytes")


class Payload(Contract):
    """Base of every command (imperative: ValidateSegment) and fact (past tense: SegmentMerged).

    ``schema_version`` grows by one with every change that an older consumer cannot read.
    """

    schema_version: ClassVar[int] = 1

    @classmethod
    def kind(cls) -> str:
        """The name under which the message travels."""
        return cls.__name__

    def dedup_id(self) -> str:
        """What makes two messages the same request or the same fact, however often they are sent."""
        raise NotImplementedError


class Message(Contract):
    """The envelope: who sent what, for which run, and how to recognise a repetition."""

    id: UUID
    kind: str
    schema_version: PositiveInt
    run_id: str
    dedup_id: str
    occurred_at: datetime
    trace: str | None = Field(default=None, description="X-Ray trace header of the sender")
    body: Json

    @classmethod
    def wrap(
        cls,
        payload: Payload,
        *,
        message_id: UUID,
        run_id: str,
        occurred_at: datetime,
        trace: str | None = None,
    ) -> Self:
        """Put a payload into its envelope."""
        return cls(
            id=message_id,
            kind=payload.kind(),
            schema_version=payload.schema_version,
            run_id=run_id,
            dedup_id=payload.dedup_id(),
            occurred_at=occurred_at,
            trace=trace,
            body=payload.model_dump(mode="json"),
        )


class UnreadableMessageError(ValueError):
    """A message body is not one this consumer can read: wrong shape, unknown kind or a newer version."""


def open_message(raw: str | bytes, kinds: Mapping[str, type[Payload]]) -> tuple[Message, Payload]:
    """Read an envelope and its payload, ignoring fields that this version does not know.

    Raises:
        UnreadableMessageError: the body is not an envelope, its kind is not in ``kinds``, its version is newer
            than ours, or its payload does not validate; the text says which and where.
    """
    try:
        message = Message.model_validate_json(raw, extra="ignore")
    except ValidationError as error:
        raise UnreadableMessageError(f"not a message envelope: {_first(error)}") from error
    model = kinds.get(message.kind)
    if model is None:
        raise UnreadableMessageError(f"unknown message kind {message.kind!r}; expected one of {sorted(kinds)}")
    if message.schema_version > model.schema_version:
        raise UnreadableMessageError(
            f"{message.kind} has schema version {message.schema_version}, newer than {model.schema_version}:"
            " upgrade this service first"
        )
    try:
        return message, model.model_validate(message.body, extra="ignore")
    except ValidationError as error:
        raise UnreadableMessageError(f"{message.kind} is malformed: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in detail["loc"]) or "the whole body"
    return f"{where}: {detail['msg']}"
