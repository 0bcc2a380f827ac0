"""Composition root of the planner: settings → adapters → bound use case."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from services.planner.adapters.entities import SourceEntities
from services.planner.adapters.plans import S3CollectPlans, S3LoadPlans, S3Plans
from services.planner.adapters.postgres.entity import PostgresEntity
from services.planner.adapters.rest import RestEntity
from services.planner.adapters.snowflake import SnowflakeEntity
from services.planner.config import PlannerSettings
from services.planner.ports import Chunking, Collecting, Landing, Ports
from services.planner.use_case.batch import plan_batch
from services.runtime.aws.budgets import DynamoRateBudget
from services.runtime.aws.checkpoints import DynamoCheckpoints
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.entity_schemas import DynamoEntitySchemas
from services.runtime.aws.leases import DynamoLeases
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.occurrences import DynamoOccurrences
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.aws.telemetry import telemetry_of
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import load_jobs
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.clock import SystemClock
from services.runtime.completion import Completion
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import BatchHandler
from services.runtime.lag import LagMeter
from services.runtime.mirrors import StateMirrors
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind, PostgresAnalytics
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.snowflake.analytics import SnowflakeAnalytics
from services.runtime.socrata.opening import open_datasets
from services.runtime.telemetry import configure_logging

SERVICE = "planner"
QUEUE = "plan-requests"


@asynccontextmanager
async def build() -> AsyncIterator[BatchHandler]:
    """Open everything the planner needs, for as long as the block runs."""
    settings = PlannerSettings.read(os.environ)
    configure_logging(SERVICE, settings.log_level)
    clock = SystemClock()
    telemetry = telemetry_of(SERVICE, os.environ)
    pipelines = load_pipelines(settings.pipelines, os.environ)
    async with AsyncExitStack() as opened:
        clients = await opened.enter_async_context(Clients("s3", "sqs", "sns", "dynamodb", "secretsmanager"))
        objects = S3Objects(clients.s3)
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        watermarks = DynamoWatermarks(clients.dynamodb, settings.resource("watermarks"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        secrets = SecretsManagerSecrets(clients.secretsmanager, clock)
        postgres = PostgresAccess(secrets)
        analytics = AnalyticsByKind({"postgres": PostgresAnalytics(postgres), "snowflake": SnowflakeAnalytics(secrets)})
        databases = PostgresJobDatabases(postgres, analytics)
        chunks = DynamoChunkLedger(clients.dynamodb, settings.resource("ledger"), clock)
        chunk_plans = StoredChunkPlans(objects, settings.resource("state"))
        leases = DynamoLeases(clients.dynamodb, settings.resource("leases"), clock)
        owner = f"{socket.gethostname()}/{os.getpid()}"
        exclusive_for = timedelta(seconds=settings.run_exclusive_s)
        datasets = await opened.enter_async_context(
            open_datasets(
                settings,
                pipelines,
                budget=DynamoRateBudget(clients.dynamodb, settings.resource("budgets"), clock),
                secrets=secrets,
                clock=clock,
            )
        )
        ports = Ports(
            pipelines=pipelines,
            raw_bucket=settings.resource("raw"),
            checkpoints_bucket=settings.resource("checkpoints"),
            processed_bucket=settings.resource("processed"),
            objects=objects,
            plans=S3Plans(objects, settings.resource("state")),
            occurrences=DynamoOccurrences(clients.dynamodb, settings.resource("occurrences")),
            checkpoints=DynamoCheckpoints(clients.dynamodb, settings.resource("checkpoints")),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(
                ledger, watermarks, publisher, StateMirrors(objects, clock), LagMeter(telemetry, clock)
            ),
            telemetry=telemetry,
            clock=clock,
            stranded_after=timedelta(seconds=settings.stranded_after_s),
            collecting=Collecting(
                datasets=datasets,
                plans=S3CollectPlans(objects, settings.resource("state")),
                leases=leases,
                owner=owner,
                lease_ttl_s=settings.lease_ttl_s,
                exclusive_for=exclusive_for,
            ),
            landing=Landing(
                entities=SourceEntities(
                    {
                        "postgres": partial(PostgresEntity.open, postgres),
                        "rest": RestEntity.open,
                        "snowflake": partial(SnowflakeEntity.open, secrets),
                    }
                ),
                plans=S3LoadPlans(objects, settings.resource("state")),
                schemas=DynamoEntitySchemas(clients.dynamodb, settings.resource("schemas"), clock),
                leases=leases,
                owner=owner,
                default_load=settings.load_type,
                patience=settings.source_patience,
                lease_ttl_s=settings.lease_ttl_s,
                exclusive_for=exclusive_for,
            ),
            chunked=Chunking(
                jobs=load_jobs(settings.pipelines, os.environ),
                planning=ChunkPlanning(databases, chunk_plans, ledger, chunks, clock),
                completion=ChunkCompletion(databases, ledger, chunks, publisher),
                leases=leases,
                owner=owner,
                lease_ttl_s=settings.lease_ttl_s,
                exclusive_for=exclusive_for,
                patience=settings.source_patience,
            ),
        )
        yield partial(plan_batch, ports)
