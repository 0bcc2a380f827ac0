"""Composition root of the chunk worker: settings → adapters → bound use cases."""

import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from contracts.chunks import ActionResult
from services.chunk_worker.adapters.answers import StepFunctionsAnswers
from services.chunk_worker.adapters.places import SecretPlaces
from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.config import ChunkWorkerSettings
from services.chunk_worker.core import tasks
from services.chunk_worker.ports import Ports
from services.chunk_worker.use_case import act_directly, work_batch
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.leases import DynamoLeases
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.aws.telemetry import telemetry_of
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import AnalyticsSources
from services.runtime.clock import SystemClock
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind, PostgresAnalytics
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.secrets import Secrets
from services.runtime.telemetry import configure_logging

SERVICE = "chunk_worker"
QUEUE = tasks.QUEUE


@dataclass(frozen=True, slots=True)
class ChunkWorker:
    """Both ways to ask for something: a batch of messages, and an action by name."""

    ports: Ports

    async def __call__(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Handle a batch."""
        return await work_batch(self.ports, deliveries)

    async def act(self, request: Mapping[str, Any]) -> ActionResult:
        """Carry out an action: ``act_directly`` says what may be wrong."""
        return await act_directly(self.ports, request)


@asynccontextmanager
async def build() -> AsyncIterator[ChunkWorker]:
    """Open everything the chunk worker needs, for as long as the block runs."""
    settings = ChunkWorkerSettings.read(os.environ)
    configure_logging(SERVICE, settings.log_level)
    clock = SystemClock()
    telemetry = telemetry_of(SERVICE, os.environ)
    jobs = load_jobs(settings.pipelines, os.environ)
    async with Clients("s3", "sqs", "sns", "dynamodb", "secretsmanager", "stepfunctions") as clients:
        secrets = SecretsManagerSecrets(clients.secretsmanager, clock)
        access = PostgresAccess(secrets)
        analytics = _analytics(jobs.values(), access, secrets)
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        chunks = DynamoChunkLedger(clients.dynamodb, settings.resource("ledger"), clock)
        plans = StoredChunkPlans(S3Objects(clients.s3), settings.resource("state"))
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        async with PostgresChunkTables(access, connections=settings.connections) as tables:
            databases = PostgresJobDatabases(access, analytics, tables.alone)
            yield ChunkWorker(
                Ports(
                    jobs=jobs,
                    tables=tables,
                    answers=StepFunctionsAnswers(clients.stepfunctions),
                    places=SecretPlaces(access),
                    databases=databases,
                    analytics=analytics,
                    plans=plans,
                    planning=ChunkPlanning(databases, plans, ledger, chunks, clock),
                    completion=ChunkCompletion(databases, ledger, chunks, publisher),
                    ledger=ledger,
                    chunks=chunks,
                    leases=DynamoLeases(clients.dynamodb, settings.resource("leases"), clock),
                    publisher=publisher,
                    telemetry=telemetry,
                    clock=clock,
                    owner=f"{socket.gethostname()}/{os.getpid()}",
                    lease_ttl_s=settings.lease_ttl_s,
                    overtake_after_s=settings.overtake_after_s,
                )
            )


def _analytics(jobs: Iterable[LoadedJob], access: PostgresAccess, secrets: Secrets) -> AnalyticsSources:
    """Other databases by their kind; what needs an extra is imported only where it is declared."""
    kinds: dict[str, AnalyticsSources] = {"postgres": PostgresAnalytics(access)}
    if any(job.job.analytics is not None and job.job.analytics.kind == "snowflake" for job in jobs):
        module = import_module("services.runtime.snowflake.analytics")
        kinds["snowflake"] = module.SnowflakeAnalytics(secrets)
    return AnalyticsByKind(kinds)
