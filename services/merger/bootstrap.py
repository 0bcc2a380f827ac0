"""Composition root of the merger: settings → adapters → bound use case."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.adapters.strategies import BySize
from services.merger.config import MergerSettings
from services.merger.ports import Ports
from services.merger.use_case.batch import merge_batch
from services.runtime.aws.checkpoints import DynamoCheckpoints
from services.runtime.aws.clients import Clients
from services.runtime.aws.leases import DynamoLeases
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.occurrences import DynamoOccurrences
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.aws.telemetry import telemetry_of
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.clock import SystemClock
from services.runtime.completion import Completion
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import BatchHandler
from services.runtime.lag import LagMeter
from services.runtime.mirrors import StateMirrors
from services.runtime.telemetry import configure_logging

SERVICE = "merger"
QUEUE = "merge-segments"
PARTS_QUEUE = "write-parts"
"""Groups of parts: one at a time, so that all mergers share in a large load."""


@asynccontextmanager
async def build() -> AsyncIterator[BatchHandler]:
    """Open everything the merger needs, for as long as the block runs."""
    settings = MergerSettings.read(os.environ)
    configure_logging(SERVICE, settings.log_level)
    clock = SystemClock()
    telemetry = telemetry_of(SERVICE, os.environ)
    async with Clients("s3", "sqs", "sns", "dynamodb") as clients:
        objects = S3Objects(clients.s3)
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        watermarks = DynamoWatermarks(clients.dynamodb, settings.resource("watermarks"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        checkpoints = DynamoCheckpoints(clients.dynamodb, settings.resource("checkpoints"))
        ports = Ports(
            pipelines=load_pipelines(settings.pipelines, os.environ),
            segments=ParquetSegmentReader(objects),
            strategy=BySize(Stores(objects, S3Multipart(clients.s3)), append_from=settings.append_from_bytes),
            keys=S3TableKeys(objects, checkpoints),
            manifests=S3Manifests(objects, settings.resource("state")),
            loads=S3Loads(objects, settings.resource("state")),
            parts=S3Parts(objects),
            processed_bucket=settings.resource("processed"),
            objects=objects,
            checkpoints=checkpoints,
            occurrences=DynamoOccurrences(clients.dynamodb, settings.resource("occurrences")),
            leases=DynamoLeases(clients.dynamodb, settings.resource("leases"), clock),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(
                ledger, watermarks, publisher, StateMirrors(objects, clock), LagMeter(telemetry, clock)
            ),
            telemetry=telemetry,
            clock=clock,
            owner=f"{socket.gethostname()}/{os.getpid()}",
            lease_ttl_s=settings.lease_ttl_s,
        )
        yield partial(merge_batch, ports)
