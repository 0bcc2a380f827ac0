"""Creates what contracts/schemas/topology.json declares, in LocalStack; safe to repeat.

LocalStack runs this file when it is ready; ``python provision.py`` does the same from outside. It stands alone (no
import of the project), because inside the container only the exported topology is mounted.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from botocore.session import get_session

try:
    from localstack_client.session import Session
except ModuleNotFoundError:  # LocalStack's own interpreter does not have it
    Session = None

EXISTS = frozenset({"ResourceInUseException", "BucketAlreadyOwnedByYou", "EntityAlreadyExists"})
ACTIVE_WITHIN_S = 60.0
OBJECT_CREATED = "s3:ObjectCreated:*"

Declared = Mapping[str, Any]
"""One resource of the topology, as exported."""


def main(environ: Mapping[str, str]) -> None:
    """Provision what ``TIDEGATE_TOPOLOGY`` (the exported file) declares.

    ``TIDEGATE_STACK`` is the prefix of all names, ``TIDEGATE_STATE_MACHINES`` the folder with their definitions.
    """
    path = Path(environ.get("TIDEGATE_TOPOLOGY", "/etc/tidegate/schemas/topology.json"))
    definitions = Path(environ.get("TIDEGATE_STATE_MACHINES", "/etc/tidegate/state_machine"))
    stack = environ.get("TIDEGATE_STACK", "tidegate")
    topology: Declared = json.loads(path.read_text(encoding="utf-8"))
    Provisioner(connect(environ), stack, environ.get("AWS_DEFAULT_REGION", "us-east-1")).run(topology, definitions)
    print(f"tidegate: stack {stack!r} is provisioned")


def connect(environ: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes a client for a service. ``AWS_ENDPOINT_URL_DYNAMODB`` and the like send one service elsewhere."""
    credentials: dict[str, Any] = {
        "aws_access_key_id": environ.get("AWS_ACCESS_KEY_ID", "test"),
        "aws_secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY", "test"),
        "region_name": environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }
    port = environ.get("GATEWAY_LISTEN", ":4566").split(",")[0].rpartition(":")[2]
    endpoint = environ.get("AWS_ENDPOINT_URL", f"http://localhost:{port}")

    def client(service: str) -> Any:
        elsewhere = environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        if Session is None or elsewhere:
            return get_session().create_client(service, endpoint_url=elsewhere or endpoint, **credentials)
        return Session(**credentials).client(service)

    return client


class Provisioner:
    """Creates each resource or brings it to its declared settings; removes nothing."""

    def __init__(self, client: Callable[[str], Any], stack: str, region: str) -> None:
        self._s3, self._sqs, self._sns, self._dynamodb = (client(name) for name in ("s3", "sqs", "sns", "dynamodb"))
        self._iam, self._stepfunctions = client("iam"), client("stepfunctions")
        self._stack = stack
        self._region = region

    def run(self, topology: Declared, definitions: Path) -> None:
        """Create everything, in the order in which the parts name one another."""
        for table in topology["tables"]:
            self.table(table)
        for bucket in topology["buckets"]:
            self.bucket(bucket)
        topics = {t["name"]: self._sns.create_topic(Name=self._name(t["name"]))["TopicArn"] for t in topology["topics"]}
        queues = {queue["name"]: self.queue(queue) for queue in topology["queues"]}
        for subscription in topology["subscriptions"]:
            url, arn = queues[subscription["queue"]]
            self.subscribe(topics[subscription["topic"]], url, arn)
        for bucket in topology["buckets"]:
            if bucket["notify_topic"]:
                self.notify(self._name(bucket["name"]), topics[bucket["notify_topic"]])
        if topology["state_machines"]:
            role = self.role(sorted({queues[machine["queue"]][1] for machine in topology["state_machines"]}))
            for machine in topology["state_machines"]:
                self.state_machine(machine, definitions, queues[machine["queue"]][0], role)

    def _name(self, name: str) -> str:
        return f"{self._stack}-{name}"

    def table(self, table: Declared) -> None:
        """Create a table on demand and wait until it takes requests."""
        name = self._name(table["name"])
        keys = [(table["partition_key"], "HASH"), *([(table["sort_key"], "RANGE")] if table["sort_key"] else [])]
        unless_exists(
            lambda: self._dynamodb.create_table(
                TableName=name,
                AttributeDefinitions=[{"AttributeName": k["name"], "AttributeType": k["type"]} for k, _ in keys],
                KeySchema=[{"AttributeName": k["name"], "KeyType": role} for k, role in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        )
        deadline = time.monotonic() + ACTIVE_WITHIN_S
        while self._dynamodb.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise TimeoutError(f"table {name} is not active after {ACTIVE_WITHIN_S:.0f} s")
            time.sleep(0.1)
        if table["ttl_attribute"]:
            ttl = self._dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            if ttl["TimeToLiveStatus"] not in {"ENABLED", "ENABLING"}:
                wanted = {"Enabled": True, "AttributeName": table["ttl_attribute"]}
                self._dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)

    def bucket(self, bucket: Declared) -> None:
        """Create a bucket with its versioning and lifecycle."""
        name = self._name(bucket["name"])
        place: dict[str, Any] = {}
        if self._region != "us-east-1":
            place["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        unless_exists(lambda: self._s3.create_bucket(Bucket=name, **place))
        if bucket["versioned"]:
            self._s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        rules: list[dict[str, Any]] = [
            {"ID": identity, "Status": "Enabled", "Filter": {"Prefix": ""}, action: {unit: bucket[setting]}}
            for identity, setting, action, unit in (
                ("expire", "expire_days", "Expiration", "Days"),
                ("expire-noncurrent", "noncurrent_expire_days", "NoncurrentVersionExpiration", "NoncurrentDays"),
                (
                    "abort-incomplete-uploads",
                    "abort_incomplete_days",
                    "AbortIncompleteMultipartUpload",
                    "DaysAfterInitiation",
                ),
            )
            if bucket[setting]
        ]
        for rule in rules:
            if rule["ID"] == "expire-noncurrent" and bucket["noncurrent_keep"]:
                rule["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"] = bucket["noncurrent_keep"]
        if rules:
            self._s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})

    def queue(self, queue: Declared) -> tuple[str, str]:
        """Create a queue behind its dead-letter queue; its URL and ARN."""
        retention = {"MessageRetentionPeriod": str(queue["retention_s"])}
        _, dead_letters = self._create_queue(queue["dlq"], retention)
        redrive = {"deadLetterTargetArn": dead_letters, "maxReceiveCount": str(queue["max_receives"])}
        visibility = str(queue["visibility_timeout_s"])
        return self._create_queue(
            queue["name"], {**retention, "VisibilityTimeout": visibility, "RedrivePolicy": json.dumps(redrive)}
        )

    def _create_queue(self, name: str, attributes: Mapping[str, str]) -> tuple[str, str]:
        # Attributes go in a second call: creating an existing queue with other attributes is an error.
        url = self._sqs.create_queue(QueueName=self._name(name))["QueueUrl"]
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def subscribe(self, topic: str, url: str, queue: str) -> None:
        """Let a topic deliver to a queue, without a wrapper around the message."""
        policy = allow("sns.amazonaws.com", "sqs:SendMessage", queue, topic)
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        raw = {"RawMessageDelivery": "true"}
        self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=raw)

    def notify(self, bucket: str, topic: str) -> None:
        """Send a bucket's object-created events to a topic."""
        policy = allow("s3.amazonaws.com", "sns:Publish", topic, f"arn:aws:s3:::{bucket}")
        self._sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        present = self._s3.get_bucket_notification_configuration(Bucket=bucket).get("TopicConfigurations", [])
        if any(c["TopicArn"] == topic and c["Events"] == [OBJECT_CREATED] for c in present):
            return  # setting it again would send another s3:TestEvent through the queues
        self._s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "TopicConfigurations": [{"Id": "object-created", "TopicArn": topic, "Events": [OBJECT_CREATED]}]
            },
        )

    def role(self, queues: list[str]) -> str:
        """Create the role of the state machines, which may send to these queues; its ARN."""
        name = self._name("state-machines")
        trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queues}
        unless_exists(lambda: self._iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust)))
        self._iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=policy(send))
        return str(self._iam.get_role(RoleName=name)["Role"]["Arn"])

    def state_machine(self, machine: Declared, definitions: Path, url: str, role: str) -> None:
        """Create a state machine, or give it its definition again."""
        name = self._name(machine["name"])
        values = {"queue_url": url, "pipeline": machine["pipeline"]}
        template = (definitions / machine["definition"]).read_text(encoding="utf-8")
        definition = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], template)
        pages = self._stepfunctions.get_paginator("list_state_machines").paginate()
        present = {each["name"]: each["stateMachineArn"] for page in pages for each in page["stateMachines"]}
        if name in present:
            self._stepfunctions.update_state_machine(stateMachineArn=present[name], definition=definition, roleArn=role)
        else:
            self._stepfunctions.create_state_machine(name=name, definition=definition, roleArn=role)


def allow(service: str, action: str, resource: str, source: str) -> str:
    """A resource policy, as JSON: the service may act on ``resource`` for this one source."""
    return policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": action,
            "Resource": resource,
            "Condition": {"ArnEquals": {"aws:SourceArn": source}},
        }
    )


def policy(statement: Declared) -> str:
    """A policy of one statement, as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def unless_exists(create: Callable[[], object]) -> None:
    """Create, or be content that it is there."""
    try:
        create()
    except ClientError as error:
        if error.response["Error"]["Code"] not in EXISTS:
            raise


# LocalStack executes the text of this file inside its own process, where the name is that of no module.
if __name__ in {"__main__", "builtins"}:
    main(os.environ)
