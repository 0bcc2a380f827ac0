"""What checks look at: the declarations of this folder, and a stack through the standard AWS environment."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig

from contracts.topology import Topology
from services.console.local.provision import load_topology
from services.console.session import use_embedded_stack
from services.runtime.aws.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Clients, sdk_session
from services.runtime.aws.errors import translated
from services.runtime.settings import Settings

AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")
ATTEMPTS = 2
"""A person waits: what does not answer twice is reported as not checked."""


@dataclass(frozen=True)
class World:
    """A stack and what is declared for it. Answers that several checks want are asked for once."""

    settings: Settings
    topology: Topology
    clients: Clients
    lambdas: Any
    scheduler: Any
    environ: Mapping[str, str]
    is_aws: bool
    """Whether the endpoint is AWS itself, which keeps backups and is open to the world."""
    functions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Configurations of the functions that are there, by service."""

    def name(self, resource: str) -> str:
        """The deployed name of a resource."""
        return self.settings.resource(resource)

    def function_name(self, service: str) -> str:
        """The deployed name of a service's function; AWS writes names with hyphens."""
        return self.settings.resource(service.replace("_", "-"))

    @cached_property
    def services(self) -> list[str]:
        """Every service, in the order of its first queue."""
        return list(dict.fromkeys(queue.consumer for queue in self.topology.queues))

    def variables(self, service: str) -> Mapping[str, str]:
        """The environment that a service reads: its function's, or this one where it runs as a worker."""
        found = self.functions.get(service)
        return self.environ if found is None else found.get("Environment", {}).get("Variables", {})

    async def queue(self, name: str) -> dict[str, str]:
        """Attributes of a queue by its logical name."""
        with translated(f"look at queue {self.name(name)}"):
            url = (await self.clients.sqs.get_queue_url(QueueName=self.name(name)))["QueueUrl"]
            answer = await self.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return {str(key): value for key, value in answer["Attributes"].items()}


def is_aws(endpoint: str) -> bool:
    """Whether an endpoint is AWS itself."""
    return (urlsplit(endpoint).hostname or "").endswith(AWS_HOSTS)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """Open the clients of one examination.

    Raises:
        BadDeclarationError: a setting of this command or the exported topology is wrong.
    """
    use_embedded_stack(os.environ)
    settings = Settings.read(os.environ)
    topology = load_topology()
    session = sdk_session()
    config = AioConfig(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    async with AsyncExitStack() as opened:
        clients = await opened.enter_async_context(Clients(retries=ATTEMPTS))
        lambdas: Any = await opened.enter_async_context(session.client("lambda", config=config))
        scheduler: Any = await opened.enter_async_context(session.client("scheduler", config=config))
        yield World(
            settings=settings,
            topology=topology,
            clients=clients,
            lambdas=lambdas,
            scheduler=scheduler,
            environ=dict(os.environ),
            is_aws=is_aws(clients.sqs.meta.endpoint_url),
        )
