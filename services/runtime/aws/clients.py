"""The service clients of one process: opened once, shared, closed together."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Literal, Self, get_args

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import Loader
from botocore.utils import parse_timestamp as parse_any_timestamp

if TYPE_CHECKING:
    from types import TracebackType

    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_secretsmanager import SecretsManagerClient
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_stepfunctions import SFNClient

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
MAX_POOL_CONNECTIONS = 64

Service = Literal["s3", "sqs", "sns", "dynamodb", "secretsmanager", "stepfunctions"]
SERVICES: tuple[Service, ...] = get_args(Service)


def parse_timestamp(text: str) -> datetime:
    """A moment in an answer. The SDK's own parser takes most of the time of a long S3 listing."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_any_timestamp(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def sdk_session() -> aioboto3.Session:
    """A session with the settings that the environment has now.

    The SDK's descriptions of services are shared by the sessions of a process: parsing them takes most of the time of
    opening a client.
    """
    session = AioSession()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_timestamp)
    if session.get_config_variable("data_path") is None:
        session.register_component("data_loader", _descriptions())
    return aioboto3.Session(botocore_session=session)


class _Descriptions(Loader):
    @property
    def search_paths(self) -> list[str]:
        return list(super().search_paths)  # a copy, because every session adds to it


@cache
def _descriptions() -> Loader:
    return _Descriptions()


class Clients:
    """Async context manager over the clients that the adapters use: those named, or all of them.

    ``retries`` is the number of attempts the SDK makes on throttling and network trouble, with its own jittered
    back-off. S3 is addressed by path at an endpoint of our own and by host name on AWS.
    """

    s3: "S3Client"
    sqs: "SQSClient"
    sns: "SNSClient"
    dynamodb: "DynamoDBClient"
    secretsmanager: "SecretsManagerClient"
    stepfunctions: "SFNClient"

    def __init__(self, *services: Service, retries: int = 4) -> None:
        self._services = services or SERVICES
        self._session = sdk_session()
        self._stack = AsyncExitStack()
        self._retries = retries

    async def __aenter__(self) -> Self:
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=MAX_POOL_CONNECTIONS,
            parameter_validation=False,  # the types say it before, and large batches would pay for it again and again
            retries={"total_max_attempts": self._retries, "mode": "standard"},
            # A body is signed by its SHA-256, which S3 verifies. The SDK's CRC32 of a part would have to be announced
            # when its upload begins and repeated when that is completed, also for parts that S3 itself has copied.
            request_checksum_calculation="when_required",
        )
        for service in self._services:  # each takes some 4 MB, so a process opens what it uses
            setattr(self, service, await self._stack.enter_async_context(self._session.client(service, config=config)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        await self._stack.aclose()
