"""Invariants of the declared resources: each one, broken, loses or doubles messages in production."""

import pytest
from pydantic import ValidationError

from contracts.pipelines import Pipeline
from contracts.topology import TOPOLOGY, Queue
from services.runtime.chunking.jobs import load_jobs
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT

QUEUES = {queue.name: queue for queue in TOPOLOGY.queues}
TOPICS = {topic.name for topic in TOPOLOGY.topics}
PIPELINES: dict[str, Pipeline] = load_pipelines(PROJECT / "pipelines")


def test_names_are_unique() -> None:
    """Two resources of one kind and name would be one resource when deployed."""
    for kind in (TOPOLOGY.queues, TOPOLOGY.topics, TOPOLOGY.tables, TOPOLOGY.buckets, TOPOLOGY.schedules):
        names = [resource.name for resource in kind]
        assert len(names) == len(set(names))


def test_subscriptions_connect_what_exists() -> None:
    """Every subscription's topic and queue are declared, and no queue is fed twice by one topic."""
    pairs = [(subscription.topic, subscription.queue) for subscription in TOPOLOGY.subscriptions]
    assert {topic for topic, _ in pairs} <= TOPICS
    assert {queue for _, queue in pairs} <= QUEUES.keys()
    assert len(pairs) == len(set(pairs))


def test_notifications_reach_a_queue() -> None:
    """A bucket's events go to a declared topic with a subscriber; otherwise S3 would announce into the void."""
    fed = {subscription.topic for subscription in TOPOLOGY.subscriptions}
    notified = {bucket.notify_topic for bucket in TOPOLOGY.buckets if bucket.notify_topic is not None}
    assert notified <= TOPICS
    assert notified <= fed


@pytest.mark.parametrize("queue", TOPOLOGY.queues, ids=lambda queue: queue.name)
def test_a_queue_follows_the_rules_of_the_platform(queue: Queue) -> None:
    """Visibility covers six tries and the window; five receives before blame; at least two consumers."""
    assert queue.visibility_timeout_s >= 6 * queue.timeout_s + queue.batch_window_s
    assert queue.visibility_timeout_s <= 12 * 3_600
    assert queue.timeout_s <= 900
    assert queue.max_receives >= 5
    assert queue.maximum_concurrency >= 2
    assert queue.retention_s <= 14 * 86_400


@pytest.mark.parametrize("queue", TOPOLOGY.queues, ids=lambda queue: queue.name)
def test_a_large_batch_has_a_window(queue: Queue) -> None:
    """Lambda refuses a batch of more than ten messages without a batching window, and more than 10,000 at all."""
    assert queue.batch_size <= 10 or queue.batch_window_s >= 1
    assert queue.batch_size <= 10_000


@pytest.mark.parametrize(("field", "value"), [("max_receives", 4), ("maximum_concurrency", 1), ("batch_window_s", 301)])
def test_a_queue_that_breaks_the_rules_cannot_be_declared(field: str, value: int) -> None:
    """The rules hold when the topology is edited, not only in this test."""
    with pytest.raises(ValidationError, match=field):
        Queue.model_validate({**QUEUES["plan-requests"].model_dump(), field: value})


def test_schedules_name_pipelines_and_queues_that_exist() -> None:
    """A schedule for an unknown pipeline would fail once an hour."""
    groups = {pipeline.group for pipeline in PIPELINES.values()}
    jobs = load_jobs(PROJECT / "pipelines", {}).keys()
    assert {schedule.pipeline for schedule in TOPOLOGY.schedules} <= PIPELINES.keys() | groups | jobs
    assert {schedule.queue for schedule in TOPOLOGY.schedules} <= QUEUES.keys()


def test_buckets_that_are_read_by_version_keep_versions() -> None:
    """Occurrences are object versions and a restore needs the earlier checkpoint."""
    versioned = {bucket.name for bucket in TOPOLOGY.buckets if bucket.versioned}
    assert {"raw", "checkpoints"} <= versioned


def test_no_source_data_expires() -> None:
    """What was uploaded stays until somebody decides otherwise."""
    (raw,) = (bucket for bucket in TOPOLOGY.buckets if bucket.name == "raw")
    assert raw.expire_days is None
    assert raw.noncurrent_expire_days is None


def test_an_unknown_queue_is_a_key_error() -> None:
    """A misspelt name fails where it is used."""
    assert TOPOLOGY.queue("merge-segments").consumer == "merger"
    with pytest.raises(KeyError, match="no-such-queue"):
        TOPOLOGY.queue("no-such-queue")
