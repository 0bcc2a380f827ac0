"""Composition root of the validator: settings → adapters → bound use case."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import polars as pl

from services.runtime.aws.bulk_reads import BulkS3Reader
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.schemas import DynamoObservedSchemas
from services.runtime.aws.telemetry import telemetry_of
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.clock import SystemClock
from services.runtime.completion import Completion
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import BatchHandler
from services.runtime.lag import LagMeter
from services.runtime.mirrors import StateMirrors
from services.runtime.telemetry import configure_logging
from services.validator.adapters import ParquetSegments, S3Claims, S3Landed
from services.validator.config import ValidatorSettings
from services.validator.ports import Ports
from services.validator.use_case import validate_batch

SERVICE = "validator"
QUEUE = "validate-objects"


@asynccontextmanager
async def build() -> AsyncIterator[BatchHandler]:
    """Open everything the validator needs, for as long as the block runs."""
    # The first frame of a list of series registers their class in a table of polars': two lanes cannot do that at once.
    pl.DataFrame([pl.Series(dtype=pl.Null)])
    settings = ValidatorSettings.read(os.environ)
    configure_logging(SERVICE, settings.log_level)
    clock = SystemClock()
    telemetry = telemetry_of(SERVICE, os.environ)
    async with Clients("s3", "sqs", "sns", "dynamodb") as clients, BulkS3Reader(clients.s3) as reader:
        objects = S3Objects(clients.s3)
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        watermarks = DynamoWatermarks(clients.dynamodb, settings.resource("watermarks"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        ports = Ports(
            pipelines=load_pipelines(settings.pipelines, os.environ),
            raw_bucket=settings.resource("raw"),
            checkpoints_bucket=settings.resource("checkpoints"),
            processed_bucket=settings.resource("processed"),
            reader=reader,
            objects=objects,
            schemas=DynamoObservedSchemas(clients.dynamodb, settings.resource("schemas"), clock),
            claims=S3Claims(objects),
            segments=ParquetSegments(objects, settings.resource("validated"), settings.resource("quarantine")),
            ledger=ledger,
            publisher=publisher,
            telemetry=telemetry,
            clock=clock,
            completion=Completion(
                ledger, watermarks, publisher, StateMirrors(objects, clock), LagMeter(telemetry, clock)
            ),
            landed=S3Landed(objects, settings.resource("validated")),
        )
        yield partial(validate_batch, ports)
