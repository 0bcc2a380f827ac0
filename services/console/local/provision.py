"""Creates what the topology declares, on the embedded stack and on LocalStack; safe to repeat.

On AWS itself Terraform does this, from the same exported topology.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from botocore.exceptions import ClientError
from pydantic import ValidationError

from contracts.topology import Bucket, Queue, StateMachine, Subscription, Table, Topic, Topology
from services.console.local.documents import lifecycle, policy
from services.console.local.machines import create_machines
from services.runtime.aws.clients import Clients
from services.runtime.aws.errors import code_of, translated
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.type_defs import AttributeDefinitionTypeDef, KeySchemaElementTypeDef
    from types_aiobotocore_s3.type_defs import TopicConfigurationTypeDef
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

    _Attributes = dict[QueueAttributeNameType, str]

TOPOLOGY_FILE = PROJECT / "contracts" / "schemas" / "topology.json"
T = TypeVar("T")
_OBJECT_CREATED: Literal["s3:ObjectCreated:*"] = "s3:ObjectCreated:*"
_HOME_REGION = "us-east-1"
_EXISTS = frozenset({"ResourceInUseException", "BucketAlreadyOwnedByYou"})


def load_topology(path: Path = TOPOLOGY_FILE) -> Topology:
    """Read the exported topology, without what the export adds for other readers.

    Raises:
        BadDeclarationError: the file is not there or is not a topology.
    """
    try:
        return Topology.model_validate_json(path.read_text(encoding="utf-8"), extra="ignore")
    except OSError as error:
        raise BadDeclarationError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise BadDeclarationError(f"{path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error


async def provision(
    clients: Clients, stack: str, topology: Topology, *, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Create tables, buckets, queues, topics, subscriptions, notifications and state machines that are not there yet.

    What exists is brought to the declared settings; nothing is ever removed. ``progress`` gets a line a kind.

    Raises:
        AccessDeniedError, PermanentError, TemporaryError: AWS refused; the text names the resource.
        UnreachableError: no answer from the endpoint.
    """
    provisioner = _Provisioner(clients, stack)
    await _together(
        _then(progress, f"{len(topology.tables)} tables", _each(provisioner.table, topology.tables)),
        _then(progress, "buckets, queues and topics", provisioner.events(topology)),
    )


class _Provisioner:
    def __init__(self, clients: Clients, stack: str) -> None:
        self._clients = clients
        self._stack = stack
        self._topics: dict[str, str] = {}
        self._queues: dict[str, tuple[str, str]] = {}

    def _name(self, name: str) -> str:
        return f"{self._stack}-{name}"

    async def events(self, topology: Topology) -> None:
        """Everything on the way of an event, in the order in which the parts name one another."""
        await _together(
            _each(self.bucket, topology.buckets),
            _each(self.topic, topology.topics),
            _each(self.queue, topology.queues),
        )
        await _together(
            _each(lambda t: self.topic_policy(t, topology.buckets), topology.topics),
            _each(lambda q: self.queue_policy(q, topology.subscriptions), topology.queues),
        )
        await _together(
            _each(self.subscription, topology.subscriptions),
            *(self.notification(b, b.notify_topic) for b in topology.buckets if b.notify_topic),
            self.machines([machine for machine in topology.state_machines if machine.queue in self._queues]),
        )

    async def machines(self, machines: list[StateMachine]) -> None:
        await create_machines(self._clients, self._stack, machines, self._queues)

    async def table(self, table: Table) -> None:
        name, dynamodb = self._name(table.name), self._clients.dynamodb
        attributes = [table.partition_key, *([table.sort_key] if table.sort_key else [])]
        definitions: list[AttributeDefinitionTypeDef] = [
            {"AttributeName": a.name, "AttributeType": a.type} for a in attributes
        ]
        keys: list[KeySchemaElementTypeDef] = [
            {"AttributeName": a.name, "KeyType": "RANGE" if a is table.sort_key else "HASH"} for a in attributes
        ]
        with translated(f"create table {name}"):
            await _unless_exists(
                dynamodb.create_table(
                    TableName=name,
                    AttributeDefinitions=definitions,
                    KeySchema=keys,
                    BillingMode="PAY_PER_REQUEST",
                )
            )
            await dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
            if table.ttl_attribute:
                state = (await dynamodb.describe_time_to_live(TableName=name)).get("TimeToLiveDescription", {})
                if state.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
                    await dynamodb.update_time_to_live(
                        TableName=name,
                        TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
                    )

    async def bucket(self, bucket: Bucket) -> None:
        name, s3 = self._name(bucket.name), self._clients.s3
        with translated(f"create bucket {name}"):
            if s3.meta.region_name == _HOME_REGION:
                await _unless_exists(s3.create_bucket(Bucket=name))
            else:
                place: Any = {"LocationConstraint": s3.meta.region_name}
                await _unless_exists(s3.create_bucket(Bucket=name, CreateBucketConfiguration=place))
            if bucket.versioned:
                await s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
            rules = lifecycle(bucket)
            if rules:
                await s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})

    async def topic(self, topic: Topic) -> None:
        name = self._name(topic.name)
        with translated(f"create topic {name}"):
            self._topics[topic.name] = (await self._clients.sns.create_topic(Name=name))["TopicArn"]

    async def queue(self, queue: Queue) -> None:
        retention: _Attributes = {"MessageRetentionPeriod": str(queue.retention_s)}
        _, dead_letters = await self._create_queue(self._name(f"{queue.name}-dlq"), retention)
        redrive = {"deadLetterTargetArn": dead_letters, "maxReceiveCount": str(queue.max_receives)}
        self._queues[queue.name] = await self._create_queue(
            self._name(queue.name),
            {
                **retention,
                "VisibilityTimeout": str(queue.visibility_timeout_s),
                "RedrivePolicy": json.dumps(redrive),
            },
        )

    async def _create_queue(self, name: str, attributes: "_Attributes") -> tuple[str, str]:
        sqs = self._clients.sqs
        with translated(f"create queue {name}"):
            # Attributes go in a second call: creating an existing queue with other attributes is an error.
            url = (await sqs.create_queue(QueueName=name))["QueueUrl"]
            await sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
            answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    async def topic_policy(self, topic: Topic, buckets: list[Bucket]) -> None:
        sources = [f"arn:aws:s3:::{self._name(b.name)}" for b in buckets if b.notify_topic == topic.name]
        if not sources:
            return
        arn = self._topics[topic.name]
        with translated(f"set the policy of topic {arn}"):
            await self._clients.sns.set_topic_attributes(
                TopicArn=arn,
                AttributeName="Policy",
                AttributeValue=policy("s3.amazonaws.com", "sns:Publish", arn, sources),
            )

    async def queue_policy(self, queue: Queue, subscriptions: list[Subscription]) -> None:
        sources = [self._topics[s.topic] for s in subscriptions if s.queue == queue.name]
        if not sources:
            return
        url, arn = self._queues[queue.name]
        with translated(f"set the policy of queue {arn}"):
            await self._clients.sqs.set_queue_attributes(
                QueueUrl=url,
                Attributes={"Policy": policy("sns.amazonaws.com", "sqs:SendMessage", arn, sources)},
            )

    async def subscription(self, subscription: Subscription) -> None:
        topic, (_, queue) = self._topics[subscription.topic], self._queues[subscription.queue]
        with translated(f"subscribe {queue} to {topic}"):
            await self._clients.sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=queue,
                Attributes={"RawMessageDelivery": "true"},
                ReturnSubscriptionArn=True,
            )

    async def notification(self, bucket: Bucket, topic_name: str) -> None:
        name, topic, s3 = self._name(bucket.name), self._topics[topic_name], self._clients.s3
        with translated(f"set the notifications of bucket {name}"):
            present = await s3.get_bucket_notification_configuration(Bucket=name)
            wanted = (topic, [_OBJECT_CREATED])
            if any((c["TopicArn"], c["Events"]) == wanted for c in present.get("TopicConfigurations", [])):
                return  # setting it again would send another s3:TestEvent through the queues
            topics: list[TopicConfigurationTypeDef] = [
                {"Id": "object-created", "TopicArn": topic, "Events": [_OBJECT_CREATED]}
            ]
            await s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"TopicConfigurations": topics}
            )


async def _unless_exists(creation: Awaitable[object]) -> None:
    try:
        await creation
    except ClientError as error:
        if code_of(error) not in _EXISTS:
            raise


async def _then(progress: Callable[[str], None], line: str, work: Coroutine[Any, Any, None]) -> None:
    await work
    progress(line)


async def _each(action: Callable[[T], Coroutine[Any, Any, None]], items: list[T]) -> None:
    await _together(*(action(item) for item in items))


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Run side by side; the first failure cancels the rest and is raised as itself."""
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        failure = failures.exceptions[0]
    if failure is not None:
        raise failure
