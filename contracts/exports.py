"""The contracts as documents that other tools read: JSON Schema, the topology and AsyncAPI.

This module only builds them; ``services/console/schemas.py`` writes and compares files. A schema describes
what a producer may send, so undeclared fields are forbidden in it; consumers ignore them (``open_message``).
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from contracts.asyncapi import build_asyncapi
from contracts.catalog import MESSAGES
from contracts.checkpoints import CommitManifest
from contracts.chunk_jobs import ChunkJob
from contracts.chunks import ActionPayload, ActionResult, ChunkKeys, ChunkOutcome, ChunkPayload, ChunkPlan
from contracts.envelope import Message
from contracts.groups import Group
from contracts.loads import GroupResult, LandedSegment, Landing, LoadManifest, LoadPlan
from contracts.pipelines import Pipeline
from contracts.plans import CollectPlan, PlanPreview
from contracts.records import RECORDS
from contracts.runs import (
    ChunkRunResponse,
    CollectPayload,
    CollectResponse,
    ErrorResponse,
    LoadPayload,
    LoadResponse,
    ScanPayload,
    ScanResponse,
)
from contracts.segments import OccurrenceList, SegmentDescriptor
from contracts.topology import TOPOLOGY, Topology

Document = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

STORED: tuple[type[BaseModel], ...] = (
    SegmentDescriptor,
    CommitManifest,
    OccurrenceList,
    CollectPlan,
    PlanPreview,
    LoadPlan,
    Landing,
    LandedSegment,
    LoadManifest,
    GroupResult,
    ChunkPlan,
    ChunkKeys,
)
"""Documents that lie in S3 and are read by every later release."""

SCAN: tuple[type[BaseModel], ...] = (
    ScanPayload,
    ScanResponse,
    ErrorResponse,
    CollectPayload,
    CollectResponse,
    LoadPayload,
    LoadResponse,
    ChunkPayload,
    ActionPayload,
    ActionResult,
    ChunkOutcome,
    ChunkRunResponse,
)
"""What the caller of a run sends and gets back."""

REVISIONS: Mapping[str, int] = MappingProxyType({})
"""``schema_version`` of contracts that carry none themselves (envelope, records, stored documents, pipeline),
by exported name; 1 where absent. Raise it here when an incompatible change is meant."""

RETIRED: frozenset[str] = frozenset()
"""Exported names that are gone for good. A message belongs here once nobody has sent it for longer than
queues keep it (``Queue.retention_s``)."""


def topology_document(topology: Topology = TOPOLOGY) -> Document:
    """The topology with the values that follow from it, so that nobody computes them a second time.

    Names are logical; ``name_template`` says what a deployed resource is called.
    """
    document = topology.model_dump(mode="json")
    for queue, exported in zip(topology.queues, document["queues"], strict=True):
        exported["visibility_timeout_s"] = queue.visibility_timeout_s
        exported["dlq"] = f"{queue.name}-dlq"
    return {"name_template": "{stack}-{name}", **document}


def schema_document(name: str, model: type[BaseModel], schema_version: int) -> Document:
    """One model as a JSON Schema of the given revision, under its exported name."""
    schema = model.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"{name}.json", "schema_version": schema_version, **schema}


def export_documents() -> dict[str, Document]:
    """Every exported document by name; a file is called ``{name}.json``."""
    versioned = {name: (model, model.schema_version) for name, model in MESSAGES.items()}
    plain: dict[str, type[BaseModel]] = {"envelope": Message, "pipeline": Pipeline, "group": Group, "job": ChunkJob}
    plain |= RECORDS
    plain |= {model.__name__: model for model in (*STORED, *SCAN)}
    documents = {name: schema_document(name, model, version) for name, (model, version) in versioned.items()}
    documents |= {name: schema_document(name, model, REVISIONS.get(name, 1)) for name, model in plain.items()}
    documents["topology"] = topology_document()
    documents["asyncapi"] = build_asyncapi()
    return dict(sorted(documents.items()))


def render(document: Document) -> str:
    """The one text of a document: sorted keys, two spaces, a newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
