"""Queues, topics, subscriptions, tables, buckets and notifications: declared once.

The embedded stack, LocalStack and Terraform all read the exported ``schemas/topology.json``; nothing lists these
resources a second time. Names here are logical: a deployed resource is called ``{stack}-{name}``.
"""

from typing import Literal

from pydantic import Field, PositiveInt

from contracts.envelope import Contract

VISIBILITY_FACTOR = 6
"""AWS advises a visibility timeout of at least six function timeouts, so that retries do not overlap."""


class Queue(Contract):
    """A work queue with its dead-letter queue (``{name}-dlq``)."""

    name: str
    consumer: str = Field(description="service that reads it")
    timeout_s: PositiveInt = Field(description="longest time the consumer may work on one batch, seconds")
    batch_size: PositiveInt = Field(description="most messages handled together")
    batch_window_s: int = Field(ge=0, le=300, description="how long the consumer gathers a batch, seconds")
    max_receives: PositiveInt = Field(ge=5, description="receives before a message goes to the DLQ")
    maximum_concurrency: PositiveInt = Field(ge=2, description="consumers side by side")
    retention_s: PositiveInt = Field(default=14 * 86_400, description="seconds; also of the DLQ")

    @property
    def visibility_timeout_s(self) -> int:
        """Seconds a received message stays hidden on AWS Lambda; a worker extends its own while it works."""
        return VISIBILITY_FACTOR * self.timeout_s + self.batch_window_s


class Topic(Contract):
    """A fan-out point."""

    name: str


class Subscription(Contract):
    """A queue fed by a topic, with raw delivery."""

    topic: str
    queue: str


class Attribute(Contract):
    """One part of a table's key."""

    name: str
    type: Literal["S", "N"]


class Table(Contract):
    """A DynamoDB table, on-demand, with point-in-time recovery where AWS keeps it."""

    name: str
    partition_key: Attribute
    sort_key: Attribute | None = None
    ttl_attribute: str | None = Field(default=None, description="housekeeping only, never correctness")


class Bucket(Contract):
    """An S3 bucket and where its object-created events go."""

    name: str
    versioned: bool
    notify_topic: str | None = None
    expire_days: PositiveInt | None = Field(default=None, description="days after which objects may go")
    noncurrent_expire_days: PositiveInt | None = None
    noncurrent_keep: PositiveInt | None = Field(
        default=None, le=100, description="newest noncurrent versions of an object that never expire"
    )
    abort_incomplete_days: PositiveInt | None = Field(
        default=None, description="days after which a multipart upload that nobody completed may go"
    )


class Schedule(Contract):
    """A scheduled command to the planner."""

    name: str
    pipeline: str = Field(description="a pipeline, or a group")
    expression: str = Field(description="EventBridge Scheduler expression")
    timezone: str = "UTC"
    queue: str = "plan-requests"


class StateMachine(Contract):
    """A Step Functions state machine that asks a chunk worker for what it does, and waits for the answers."""

    name: str
    pipeline: str = Field(description="the chunked job")
    definition: str = Field(description="file in infra/terraform/modules/state_machine")
    queue: str = "chunk-jobs"


class Topology(Contract):
    """Everything that must exist for the services to run."""

    version: PositiveInt
    queues: list[Queue]
    topics: list[Topic]
    subscriptions: list[Subscription]
    tables: list[Table]
    buckets: list[Bucket]
    schedules: list[Schedule]
    state_machines: list[StateMachine] = Field(default_factory=list)

    def queue(self, name: str) -> Queue:
        """The declared queue of this name; KeyError if there is none."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        raise KeyError(name)


TOPOLOGY = Topology(
    version=1,
    queues=[
        Queue(
            name="plan-requests",
            consumer="planner",
            timeout_s=300,
            batch_size=1,
            batch_window_s=0,
            max_receives=20,  # waiting for the pipeline's previous run costs receives without blame
            maximum_concurrency=2,
        ),
        Queue(
            name="fetch-segments",
            consumer="fetcher",
            timeout_s=300,
            batch_size=1,
            batch_window_s=0,
            max_receives=20,  # a source that throttles us, or is out for a while, costs receives without blame
            maximum_concurrency=4,
        ),
        Queue(
            name="validate-objects",
            consumer="validator",
            timeout_s=120,
            batch_size=1_000,
            batch_window_s=2,
            max_receives=5,
            maximum_concurrency=8,
        ),
        Queue(
            name="merge-segments",
            consumer="merger",
            timeout_s=300,
            batch_size=100,
            batch_window_s=2,
            max_receives=20,  # waiting for another merger's lease costs receives without blame
            maximum_concurrency=2,
        ),
        Queue(
            name="write-parts",
            consumer="merger",
            timeout_s=300,
            batch_size=1,  # whoever has time takes one: together they would all be one merger's
            batch_window_s=0,
            max_receives=20,  # waiting for another merger's lease costs receives without blame
            maximum_concurrency=8,
        ),
        Queue(
            name="chunk-jobs",
            consumer="chunk_worker",
            timeout_s=900,
            batch_size=1,
            batch_window_s=0,
            max_receives=100,  # what holds a chunk back without blame; a chunk that fails goes to the DLQ much earlier
            maximum_concurrency=5,
        ),
    ],
    topics=[Topic(name="raw-objects"), Topic(name="validated-segments"), Topic(name="pipeline-events")],
    subscriptions=[
        Subscription(topic="raw-objects", queue="validate-objects"),
        Subscription(topic="validated-segments", queue="merge-segments"),
    ],
    tables=[
        Table(name="watermarks", partition_key=Attribute(name="watermark", type="S")),
        Table(name="leases", partition_key=Attribute(name="resource", type="S")),
        Table(
            name="ledger",
            partition_key=Attribute(name="run_id", type="S"),
            sort_key=Attribute(name="item", type="S"),
        ),
        Table(
            name="checkpoints",
            partition_key=Attribute(name="checkpoint", type="S"),
            sort_key=Attribute(name="version", type="N"),
        ),
        Table(
            name="occurrences",
            partition_key=Attribute(name="occurrence", type="S"),
            sort_key=Attribute(name="epoch", type="N"),
        ),
        Table(name="budgets", partition_key=Attribute(name="budget", type="S")),
        Table(
            name="schemas",
            partition_key=Attribute(name="entity", type="S"),
            sort_key=Attribute(name="column", type="S"),
        ),
    ],
    buckets=[
        Bucket(name="raw", versioned=True, notify_topic="raw-objects"),
        Bucket(name="validated", versioned=False, notify_topic="validated-segments", expire_days=14),
        Bucket(name="quarantine", versioned=False),
        Bucket(
            name="checkpoints", versioned=True, noncurrent_expire_days=7, noncurrent_keep=50, abort_incomplete_days=1
        ),
        Bucket(name="processed", versioned=True, noncurrent_expire_days=7, noncurrent_keep=50, abort_incomplete_days=1),
        Bucket(name="state", versioned=False),
    ],
    schedules=[
        Schedule(name="visit-events-sweep", pipeline="visit_events", expression="rate(1 hour)"),
        Schedule(name="nyc-311-daily", pipeline="nyc_311", expression="cron(0 6 * * ? *)"),
        Schedule(name="ecommerce-daily", pipeline="ecommerce", expression="cron(0 2 * * ? *)"),
        Schedule(name="conflict-report-daily", pipeline="conflict_report", expression="cron(30 3 * * ? *)"),
    ],
    state_machines=[
        StateMachine(name="conflict-report", pipeline="conflict_report", definition="phase_1.asl.json"),
        StateMachine(name="conflict-report-chunked", pipeline="conflict_report", definition="phase_2.asl.json"),
    ],
)
