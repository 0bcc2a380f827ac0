"""The same full scan with S3 on the emulator too: a figure beside the comparison, not part of it.

The emulator answers some hundred requests a second, so this measures the emulator more than the code.
"""

import asyncio
import os
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.harness import Candidate, measure
from bench.visit_events.files import PREFIX, event_files
from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from services.console.local.environment import pointed_at
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients

STACK = "bench"
SOURCE = "bench-source"
BUCKETS = (SOURCE, "state", "validated", "quarantine")
IN_FLIGHT = 32


def figure(candidate: Candidate, files: int, checkpoint_key: str) -> float:
    """Seconds one full scan of ``files`` files takes with every AWS service on the emulator."""
    with TemporaryDirectory(prefix="bench-emulator-") as folder:
        emulator = Emulator.start(Path(folder))
        environ = {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "TIDEGATE_STACK": STACK,
        }
        try:
            with pointed_at(environ):
                asyncio.run(_fill(files))
                extra = ("--endpoint", emulator.endpoint, "--bucket", SOURCE, "--prefix", PREFIX,
                         "--checkpoint-key", checkpoint_key, "--state", folder)  # fmt: skip
                return float(measure(candidate, 0, extra).wall_s)
        finally:
            emulator.stop()


async def _fill(files: int) -> None:
    tables = TOPOLOGY.model_copy(update={"buckets": [], "queues": [], "topics": [], "subscriptions": []})
    async with Clients() as clients:
        await provision(clients, os.environ["TIDEGATE_STACK"], tables)
        for bucket in BUCKETS:
            await clients.s3.create_bucket(Bucket=bucket)
        waiting = event_files(0, files)
        while part := list(islice(waiting, IN_FLIGHT)):
            await asyncio.gather(*(clients.s3.put_object(Bucket=SOURCE, Key=key, Body=body) for key, body in part))
