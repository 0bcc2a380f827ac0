"""The backends that the suites of multipart uploads run on."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest

from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from services.console.local.environment import pointed_at
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from tests.conformance.multipart_bench import Bench
from tests.conformance.test_objects import RefusingClient
from tests.emulator_support import Stack
from tests.fakes.effects import Effects
from tests.fakes.multipart import FakeMultipart
from tests.fakes.network import Network, NetworkedClient, ScriptedNetwork
from tests.fakes.objects import FakeObjects
from tests.localstack_support import running_localstack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

VERSIONED, PLAIN = "checkpoints", "state"
BUCKETS_ONLY = TOPOLOGY.model_copy(
    update={
        "buckets": [bucket for bucket in TOPOLOGY.buckets if bucket.name in {VERSIONED, PLAIN}],
        **{kind: [] for kind in ("queues", "topics", "subscriptions", "tables", "schedules", "state_machines")},
    }
)


class InMemory:
    """The fake."""

    @pytest.fixture
    def bench(self) -> Bench:
        """A fake store with both kinds of bucket."""
        network = ScriptedNetwork()
        objects = FakeObjects()
        store = FakeMultipart(objects)
        denied = FakeObjects()
        denied.buckets["plain"].denied = True

        def over(network: Network) -> FakeMultipart:
            return store.seen_by(objects.seen_by(Effects(network=network)))

        async def content_type(bucket: str, key: str) -> str:
            return store.content_types[bucket, key]

        return Bench(
            objects=objects,
            store=store,
            faulty=over(network),
            network=network,
            denied=FakeMultipart(denied),
            versioned="versioned",
            plain="plain",
            key="folder/object",
            content_type=content_type,
            over=over,
        )


class OnEmulator:
    """S3 through the emulator."""

    @pytest.fixture
    async def s3(self, empty_stack: Stack) -> "AsyncIterator[S3Client]":
        """A client of a stack that has nothing but the two buckets."""
        async with Clients("s3") as clients:
            await provision(clients, empty_stack.name, BUCKETS_ONLY)
            yield clients.s3

    @pytest.fixture
    def bench(self, empty_stack: Stack, s3: "S3Client") -> Bench:
        """The stack's own buckets."""
        return s3_bench(s3, empty_stack.name)


class OnLocalStack:
    """S3 as LocalStack imitates it."""

    @pytest.fixture(scope="class")
    @classmethod
    def localstack(cls, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
        """LocalStack for all tests of the class; the environment that points at it."""
        with running_localstack(emulator, tmp_path_factory.mktemp("localstack")) as environ:
            yield environ

    @pytest.fixture
    async def s3(self, localstack: Mapping[str, str]) -> "AsyncIterator[S3Client]":
        """The client."""
        with pointed_at(localstack):
            async with Clients("s3") as clients:
                yield clients.s3

    @pytest.fixture
    def bench(self, localstack: Mapping[str, str], s3: "S3Client") -> Bench:
        """The stack's own buckets; every test has a key of its own."""
        return s3_bench(s3, localstack["TIDEGATE_STACK"])


def s3_bench(s3: "S3Client", stack: str) -> Bench:
    """A bench over a provisioned stack."""
    network = ScriptedNetwork()

    def over(network: Network) -> S3Multipart:
        return S3Multipart(cast("S3Client", NetworkedClient(s3, network)))

    async def content_type(bucket: str, key: str) -> str:
        return (await s3.head_object(Bucket=bucket, Key=key))["ContentType"]

    return Bench(
        objects=S3Objects(s3),
        store=S3Multipart(s3),
        faulty=over(network),
        network=network,
        denied=S3Multipart(cast("S3Client", RefusingClient())),
        versioned=f"{stack}-{VERSIONED}",
        plain=f"{stack}-{PLAIN}",
        key=f"{uuid4()}/object",
        content_type=content_type,
        over=over,
    )
