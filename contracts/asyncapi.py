"""The message flow as an AsyncAPI 3.0 document: who consumes what from which channel and emits what where.

What a service consumes follows from the topology (the consumer of a queue) and the catalogue; what it emits
is declared here, once, and a test holds it against the catalogue: every message has a sender and a reader.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from contracts.catalog import (
    CHUNK_COMMANDS,
    FACTS,
    FETCHER_COMMANDS,
    MERGER_COMMANDS,
    MESSAGES,
    PLANNER_COMMANDS,
    VALIDATOR_COMMANDS,
)
from contracts.envelope import Payload
from contracts.topology import TOPOLOGY, Queue, Topology

Document = dict[str, Any]

NOTIFICATION = "ObjectCreated"
"""S3's own event; it travels without our envelope."""

CONSUMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "planner": tuple(PLANNER_COMMANDS),
        "fetcher": tuple(FETCHER_COMMANDS),
        "validator": (*VALIDATOR_COMMANDS, NOTIFICATION),
        "merger": (*MERGER_COMMANDS, NOTIFICATION),
        "chunk_worker": tuple(CHUNK_COMMANDS),
    }
)
"""Kinds that each service reads from its queue."""

EMITS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "console": {"plan-requests": ("PlanRun",), "merge-segments": ("RestoreCheckpoint",)},
        "scheduler": {"plan-requests": ("ScheduledScan",)},
        "planner": {
            "plan-requests": ("PlanRun",),
            "fetch-segments": ("FetchSegment", "FetchSlice"),
            "validate-objects": ("ValidateSegment", "ValidateFetched"),
            "merge-segments": ("MergeSegment",),
            "chunk-jobs": ("ProcessChunk",),
            "pipeline-events": ("RunCompleted", "RunFailed", "LimitReached", "SchemaChanged"),
        },
        "fetcher": {"raw-objects": (NOTIFICATION,), "pipeline-events": ("RunFailed", "RunCompleted")},
        "uploads": {"raw-objects": (NOTIFICATION,)},
        "validator": {
            "validated-segments": (NOTIFICATION,),
            "pipeline-events": ("RunFailed", "RunCompleted", "SchemaDrifted"),
        },
        "merger": {
            "write-parts": ("WriteParts",),
            "pipeline-events": (
                "CheckpointMerged",
                "LoadPublished",
                "CheckpointRestored",
                "RunCompleted",
                "RunFailed",
                "LimitReached",
            ),
        },
        "chunk_worker": {"pipeline-events": ("RunCompleted", "RunFailed")},
        "state machine": {"chunk-jobs": ("RunAction", "ProcessChunk")},
    }
)
"""Kinds that each sender emits, by channel. A notification is emitted by writing an object."""


def build_asyncapi(topology: Topology = TOPOLOGY, messages: Mapping[str, type[Payload]] = MESSAGES) -> Document:
    """The whole document; payloads refer to the JSON Schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidegate",
            "version": str(topology.version),
            "description": "Commands travel on queues, facts and object notifications on topics.",
        },
        "defaultContentType": "application/json",
        "channels": _channels(topology),
        "operations": _receiving(topology) | _sending(),
        "components": {
            "messages": {NOTIFICATION: _notification()}
            | {name: _message(name, model) for name, model in messages.items()}
        },
    }


def _carried(topology: Topology) -> Mapping[str, set[str]]:
    """Kinds that travel on each channel."""
    kinds: dict[str, set[str]] = {}
    for channels in EMITS.values():
        for channel, names in channels.items():
            kinds.setdefault(channel, set()).update(names)
    for subscription in topology.subscriptions:
        kinds.setdefault(subscription.queue, set()).update(kinds.get(subscription.topic, ()))
    return kinds


def _channels(topology: Topology) -> Document:
    kinds = _carried(topology)
    bindings = {queue.name: {"sqs": _sqs(queue)} for queue in topology.queues}
    bindings |= {topic.name: {"sns": {"name": topic.name, "bindingVersion": "1.0.0"}} for topic in topology.topics}
    feeds = {subscription.queue: subscription.topic for subscription in topology.subscriptions}
    return {
        name: {
            "address": f"{{stack}}-{name}",
            "parameters": {"stack": {"default": "tidegate", "description": "prefix of every deployed resource"}},
            "messages": {kind: _ref("components", "messages", kind) for kind in sorted(kinds.get(name, ()))},
            "bindings": binding,
        }
        | ({"description": f"Also fed by the topic {feeds[name]}, with raw delivery."} if name in feeds else {})
        for name, binding in bindings.items()
    }


def _sqs(queue: Queue) -> Document:
    return {
        "queue": {
            "name": queue.name,
            "fifoQueue": False,
            "visibilityTimeout": queue.visibility_timeout_s,
            "messageRetentionPeriod": queue.retention_s,
            "redrivePolicy": {
                "deadLetterQueue": {"name": f"{queue.name}-dlq"},
                "maxReceiveCount": queue.max_receives,
            },
        },
        "deadLetterQueue": {
            "name": f"{queue.name}-dlq",
            "fifoQueue": False,
            "messageRetentionPeriod": queue.retention_s,
        },
        "bindingVersion": "0.3.0",
    }


def _receiving(topology: Topology) -> Document:
    kinds = _carried(topology)
    return {
        f"{queue.consumer}.receive.{queue.name}": _operation(
            "receive", queue.name, kinds.get(queue.name, set()).intersection(CONSUMES[queue.consumer])
        )
        for queue in topology.queues
    }


def _sending() -> Document:
    return {
        f"{sender}.send.{channel}": _operation("send", channel, kinds)
        for sender, channels in EMITS.items()
        for channel, kinds in channels.items()
    }


def _operation(action: str, channel: str, kinds: Iterable[str]) -> Document:
    return {
        "action": action,
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", kind) for kind in sorted(kinds)],
    }


def _message(name: str, model: type[Payload]) -> Document:
    return {
        "name": name,
        "title": name,
        "summary": (model.__doc__ or name).strip().splitlines()[0],
        "tags": [{"name": "fact" if name in FACTS else "command"}],
        "payload": {
            "allOf": [
                {"$ref": "envelope.json"},
                {
                    "properties": {
                        "kind": {"const": name},
                        "schema_version": {"const": model.schema_version},
                        "body": {"$ref": f"{name}.json"},
                    }
                },
            ]
        },
    }


def _notification() -> Document:
    return {
        "name": NOTIFICATION,
        "title": NOTIFICATION,
        "summary": "S3 event notification, as S3 sends it (at least once, out of order, keys URL-encoded).",
        "tags": [{"name": "notification"}],
        "payload": {
            "type": "object",
            "properties": {"Records": {"type": "array", "items": {"type": "object"}}},
        },
    }


def _ref(*path: str) -> Document:
    return {"$ref": "#/" + "/".join(path)}
