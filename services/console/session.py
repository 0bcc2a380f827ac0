"""What a command works with: the stack's resources through the standard AWS environment."""

import os
from collections.abc import AsyncIterator, Collection, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.groups import Group
from contracts.pipelines import Pipeline
from contracts.segments import Destination
from contracts.targets import CheckpointTarget
from contracts.topology import TOPOLOGY
from services.console.local.stack import running_state
from services.console.local.state import DEFAULT_DATA_DIR, DataDir, exports
from services.console.output import note
from services.runtime.aws.checkpoints import DynamoCheckpoints
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.entity_schemas import DynamoEntitySchemas
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.occurrences import DynamoOccurrences
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.schemas import DynamoObservedSchemas
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.clock import SystemClock
from services.runtime.declarations import load_groups, load_pipelines
from services.runtime.failures import BadDeclarationError, TidegateError
from services.runtime.settings import Settings

EXPLICIT = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Any of these says where to go; without them a running embedded stack is what is meant."""

PLAN_QUEUE = "plan-requests"

RESERVED = ("pause", "resume", "cancel")
"""Names that mean something else where a run is asked for."""


@dataclass(frozen=True, slots=True)
class Session:
    """The ports a command may use."""

    settings: Settings
    pipelines: dict[str, Pipeline]
    groups: dict[str, Group]
    jobs: dict[str, LoadedJob]
    clients: Clients
    objects: S3Objects
    ledger: DynamoLedger
    chunks: DynamoChunkLedger
    watermarks: DynamoWatermarks
    occurrences: DynamoOccurrences
    checkpoints: DynamoCheckpoints
    schemas: DynamoObservedSchemas
    entity_schemas: DynamoEntitySchemas
    publisher: AwsPublisher
    clock: SystemClock

    def pipeline(self, name: str) -> Pipeline:
        """A declared pipeline.

        Raises:
            BadDeclarationError: there is none of this name.
        """
        if name in self.jobs:
            raise BadDeclarationError(f"{name} is a chunked job: its rows are in its database")
        if name in self.groups:
            members = ", ".join(self.groups[name].members.values())
            raise BadDeclarationError(f"{name} is a group: name one of its entities: {members}")
        if name not in self.pipelines:
            raise BadDeclarationError(f"there is no pipeline {name!r}; there are {', '.join(self._names())}")
        return self.pipelines[name]

    def members(self, name: str, entities: Sequence[str] = ()) -> list[Pipeline]:
        """The pipelines of a group's entities, of all or of those named; or the one pipeline of this name.

        Raises:
            BadDeclarationError: there is none, or the group has no such entity.
        """
        if name not in self.groups:
            pipeline = self.pipeline(name)
            if entities:
                raise BadDeclarationError(f"{name} has no entities to choose from, such as {entities[0]!r}")
            return [pipeline]
        members = self.groups[name].members
        unknown = [entity for entity in entities if entity not in members]
        if unknown:
            raise BadDeclarationError(f"{name} has no entity {unknown[0]!r}; it has {', '.join(members)}")
        return [self.pipelines[members[entity]] for entity in dict.fromkeys(entities or members)]

    def _names(self) -> list[str]:
        return sorted({pipeline.group or name for name, pipeline in self.pipelines.items()} | self.jobs.keys())

    def source_bucket(self, pipeline: Pipeline) -> str:
        """The bucket a pipeline reads."""
        return pipeline.source.bucket or self.settings.resource("raw")

    def destination(self, pipeline: Pipeline, key: str | None = None) -> Destination:
        """Where a pipeline's output lies (the template of its key as it stands, or a given key)."""
        own = "checkpoints" if isinstance(pipeline.target, CheckpointTarget) else "processed"
        bucket = pipeline.target.bucket or self.settings.resource(own)
        return Destination(bucket=bucket, key=key or pipeline.target.key)

    def queue_names(self) -> list[str]:
        """Every work queue, by its logical name."""
        return [queue.name for queue in TOPOLOGY.queues]


def check_names(pipelines: Collection[str], groups: Collection[str], jobs: Collection[str]) -> None:
    """Refuse names that would mean two things.

    Raises:
        BadDeclarationError: naming the first of them.
    """
    for name in jobs:
        if name in pipelines or name in groups:
            raise BadDeclarationError(
                f"{name} is the name of a chunked job and of a pipeline: one of them needs another"
            )
    for name in RESERVED:
        if name in pipelines or name in groups or name in jobs:
            raise BadDeclarationError(f"{name} cannot be a name: `tidegate run {name} RUN` is about a chunked run")


def points_somewhere(environ: Mapping[str, str]) -> bool:
    """Whether the AWS environment says where to go."""
    return any(environ.get(name) for name in EXPLICIT)


def use_embedded_stack(environ: MutableMapping[str, str]) -> None:
    """Point the AWS environment at a running embedded stack, unless it points somewhere already."""
    if points_somewhere(environ):
        return
    try:
        state = running_state(DataDir(Path(environ.get("TIDEGATE_DATA") or DEFAULT_DATA_DIR)))
    except TidegateError:  # no embedded stack here: the AWS defaults apply, and their errors say what is missing
        return
    environ.update(exports(state))
    note(f"using the embedded stack at {state.endpoint}")


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    """Open the clients and adapters of one command.

    Raises:
        BadDeclarationError: a setting or a pipeline file is wrong.
    """
    use_embedded_stack(os.environ)
    settings = Settings.read(os.environ)
    pipelines = load_pipelines(settings.pipelines, os.environ)
    groups = load_groups(settings.pipelines)
    jobs = load_jobs(settings.pipelines, os.environ)
    check_names(pipelines, groups, jobs)
    clock = SystemClock()
    async with Clients() as clients:
        dynamodb = clients.dynamodb
        yield Session(
            settings=settings,
            pipelines=pipelines,
            groups=groups,
            jobs=jobs,
            clients=clients,
            objects=S3Objects(clients.s3),
            ledger=DynamoLedger(dynamodb, settings.resource("ledger"), clock),
            chunks=DynamoChunkLedger(dynamodb, settings.resource("ledger"), clock),
            watermarks=DynamoWatermarks(dynamodb, settings.resource("watermarks"), clock),
            occurrences=DynamoOccurrences(dynamodb, settings.resource("occurrences")),
            checkpoints=DynamoCheckpoints(dynamodb, settings.resource("checkpoints")),
            schemas=DynamoObservedSchemas(dynamodb, settings.resource("schemas"), clock),
            entity_schemas=DynamoEntitySchemas(dynamodb, settings.resource("schemas"), clock),
            publisher=AwsPublisher(clients.sqs, clients.sns, settings.stack, clock),
            clock=clock,
        )
