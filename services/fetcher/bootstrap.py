"""Composition root of the fetcher: settings → adapters → bound use case."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module

from contracts.pipelines import Pipeline
from services.fetcher.adapters.landing_objects import S3LandingObjects
from services.fetcher.adapters.postgres import PostgresRows
from services.fetcher.adapters.raw import S3RawObjects
from services.fetcher.adapters.rest import RestRecords
from services.fetcher.config import FetcherSettings
from services.fetcher.ports import Landing, Ports, TypedRows
from services.fetcher.use_case import fetch_batch
from services.runtime.aws.budgets import DynamoRateBudget
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.aws.telemetry import telemetry_of
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.clock import SystemClock
from services.runtime.completion import Completion
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import BatchHandler
from services.runtime.lag import LagMeter
from services.runtime.mirrors import StateMirrors
from services.runtime.postgres.access import PostgresAccess
from services.runtime.secrets import Secrets
from services.runtime.socrata.opening import open_datasets
from services.runtime.telemetry import configure_logging

SERVICE = "fetcher"
QUEUE = "fetch-segments"


@asynccontextmanager
async def build() -> AsyncIterator[BatchHandler]:
    """Open everything the fetcher needs, for as long as the block runs."""
    settings = FetcherSettings.read(os.environ)
    configure_logging(SERVICE, settings.log_level)
    clock = SystemClock()
    telemetry = telemetry_of(SERVICE, os.environ)
    pipelines = load_pipelines(settings.pipelines, os.environ)
    async with Clients("s3", "sqs", "sns", "dynamodb", "secretsmanager") as clients:
        objects = S3Objects(clients.s3)
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        watermarks = DynamoWatermarks(clients.dynamodb, settings.resource("watermarks"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        budget = DynamoRateBudget(clients.dynamodb, settings.resource("budgets"), clock)
        secrets = SecretsManagerSecrets(clients.secretsmanager, clock)
        async with (
            open_datasets(settings, pipelines, budget=budget, secrets=secrets, clock=clock) as datasets,
            RestRecords(budget, secrets, clock=clock) as records,
        ):
            ports = Ports(
                pipelines=pipelines,
                raw_bucket=settings.resource("raw"),
                datasets=datasets,
                raw=S3RawObjects(objects),
                ledger=ledger,
                completion=Completion(
                    ledger, watermarks, publisher, StateMirrors(objects, clock), LagMeter(telemetry, clock)
                ),
                telemetry=telemetry,
                clock=clock,
                landing=Landing(
                    tables=_tables(pipelines, secrets),
                    records=records,
                    objects=S3LandingObjects(objects),
                    spool=settings.spool,
                ),
            )
            yield partial(fetch_batch, ports)


def _tables(pipelines: Mapping[str, Pipeline], secrets: Secrets) -> dict[str, TypedRows]:
    """Readers of typed rows by the kind of the source; what needs an extra is imported only where it is declared."""
    kinds = {pipeline.source.kind for pipeline in pipelines.values()}
    tables: dict[str, TypedRows] = {"postgres": PostgresRows(PostgresAccess(secrets))}
    if "snowflake" in kinds:
        module = import_module("services.fetcher.adapters.snowflake")
        tables["snowflake"] = module.SnowflakeRows(secrets)
    return tables
