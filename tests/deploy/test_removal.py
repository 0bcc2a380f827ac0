"""Taking the stack away again; the last of the folder, since nothing is left for others."""

from typing import Any

import aioboto3
import pytest

from tests.deploy.cloud import STACK, Deployed

pytestmark = pytest.mark.deploy


async def test_what_was_made_is_removed(deployed: Deployed) -> None:
    """With everything in buckets and tables. Only versions of layers stay, which another stack may use."""
    ended = deployed.terraform("destroy", "-no-color", "-auto-approve", "-parallelism=20")
    assert ended.returncode == 0, ended.stderr
    left = await names()
    assert [name for name in left if STACK in name] == []


async def names() -> list[str]:
    """What there is in the account, by name or ARN, of every kind that the stack has."""
    sdk: Any = aioboto3.Session()
    found: list[str] = []
    for service, operation, key, name in (
        ("s3", "list_buckets", "Buckets", "Name"),
        ("sqs", "list_queues", "QueueUrls", None),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("dynamodb", "list_tables", "TableNames", None),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("lambda", "list_event_source_mappings", "EventSourceMappings", "FunctionArn"),
        ("iam", "list_roles", "Roles", "RoleName"),
        ("stepfunctions", "list_state_machines", "stateMachines", "name"),
        ("scheduler", "list_schedules", "Schedules", "Name"),
        ("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        ("athena", "list_work_groups", "WorkGroups", "Name"),
        ("glue", "get_databases", "DatabaseList", "Name"),
    ):
        async with sdk.client(service) as client:
            answer = await getattr(client, operation)()
        found += [str(each if name is None else each[name]) for each in answer.get(key, [])]
    return found
