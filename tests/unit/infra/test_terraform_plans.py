"""What Terraform makes of the declarations: the plan of the local environment, held against them."""

import json
import re
from collections.abc import Mapping

import pytest

from contracts.catalog import PLANNER_COMMANDS
from contracts.envelope import open_message
from contracts.runs import ScheduledScan
from contracts.sources import SocrataSource
from contracts.topology import TOPOLOGY
from infra.packages.declared import read_packages
from services.chunk_worker.config import ChunkWorkerSettings
from services.fetcher.config import FetcherSettings
from services.merger.config import MergerSettings
from services.planner.config import PlannerSettings
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT, Settings
from services.validator.config import ValidatorSettings
from tests.unit.infra.terraform_support import Planned

pytestmark = pytest.mark.deploy

SETTINGS: Mapping[str, type[Settings]] = {
    "planner": PlannerSettings,
    "fetcher": FetcherSettings,
    "validator": ValidatorSettings,
    "merger": MergerSettings,
    "chunk_worker": ChunkWorkerSettings,
}
PIPELINES = load_pipelines(PROJECT / "pipelines")


def test_queues_are_as_declared(local_plan: Planned) -> None:
    """Every queue has its visibility, its retention, its DLQ, and the batches that the topology says."""
    queues, mappings = local_plan.named("aws_sqs_queue"), local_plan.all("aws_lambda_event_source_mapping")
    for queue in TOPOLOGY.queues:
        deployed = queues[f"tidegate-{queue.name}"]
        assert deployed["visibility_timeout_seconds"] == queue.visibility_timeout_s
        assert deployed["message_retention_seconds"] == queue.retention_s
        assert f"tidegate-{queue.name}-dlq" in queues
    batches = sorted(
        (m["batch_size"], m["maximum_batching_window_in_seconds"], m["scaling_config"][0]["maximum_concurrency"])
        for m in mappings
    )
    assert batches == sorted((q.batch_size, q.batch_window_s, q.maximum_concurrency) for q in TOPOLOGY.queues)
    assert all(mapping["function_response_types"] == ["ReportBatchItemFailures"] for mapping in mappings)


def test_tables_and_buckets_are_as_declared(local_plan: Planned) -> None:
    """Keys, backups, versions and expiry are those of the topology; unfinished uploads go from every bucket."""
    tables = local_plan.named("aws_dynamodb_table")
    for table in TOPOLOGY.tables:
        deployed = tables[f"tidegate-{table.name}"]
        assert deployed["hash_key"] == table.partition_key.name
        assert (deployed["range_key"] or None) == (table.sort_key.name if table.sort_key else None)
        assert deployed["billing_mode"] == "PAY_PER_REQUEST"
        assert deployed["point_in_time_recovery"][0]["enabled"]
    versioned = {address for address in local_plan.resources["aws_s3_bucket_versioning"] if ".buckets." in address}
    assert len(versioned) == sum(bucket.versioned for bucket in TOPOLOGY.buckets)
    lifecycles = local_plan.resources["aws_s3_bucket_lifecycle_configuration"]
    for bucket in TOPOLOGY.buckets:
        (rules,) = (v["rule"] for a, v in lifecycles.items() if ".buckets." in a and f'["{bucket.name}"]' in a)
        by_id = {rule["id"]: rule for rule in rules}
        assert by_id["abort-incomplete-uploads"]["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == (
            bucket.abort_incomplete_days or 7
        )
        assert ("expire" in by_id) == (bucket.expire_days is not None)
        assert ("expire-noncurrent" in by_id) == (bucket.noncurrent_expire_days is not None)


def test_a_schedule_says_what_the_planner_understands(local_plan: Planned) -> None:
    """Filled in as the scheduler does it, a schedule's input is a scan of its pipeline; one slot is one request."""
    schedules = local_plan.named("aws_scheduler_schedule")
    for declared in TOPOLOGY.schedules:
        schedule = schedules[declared.name]
        assert schedule["schedule_expression"] == declared.expression
        assert schedule["schedule_expression_timezone"] == declared.timezone
        text = schedule["target"][0]["input"]
        filled = text.replace("<aws.scheduler.scheduled-time>", "2026-02-21T06:00:00Z")
        filled = filled.replace("<aws.scheduler.execution-id>", "d32c5kddcf5bb8c3")
        message, command = open_message(filled, PLANNER_COMMANDS)
        assert isinstance(command, ScheduledScan)
        assert command.pipeline == declared.pipeline
        assert command.slot.isoformat() == "2026-02-21T06:00:00+00:00"
        assert message.dedup_id == f"{declared.pipeline}@2026-02-21T06:00:00Z"


def test_functions_have_their_settings_and_time(local_plan: Planned) -> None:
    """A function may take as long as its slowest queue allows, and is given only variables that something reads."""
    functions = local_plan.named("aws_lambda_function", "function_name")
    declared = read_packages()
    for service, settings in SETTINGS.items():
        function = functions[f"tidegate-{service.replace('_', '-')}"]
        assert function["timeout"] == max(q.timeout_s for q in TOPOLOGY.queues if q.consumer == service)
        assert function["handler"] == f"services.{service}.handler.handler"
        assert function["runtime"] == f"python{declared.python}"
        assert function["architectures"] == [declared.architecture]
        given = set(function["environment"][0]["variables"])
        assert "TIDEGATE_STACK" in given
        known = {field.alias for field in settings.model_fields.values()}
        assert given - known <= {"POWERTOOLS_SERVICE_NAME", "LOAD_TYPE"}


def test_policies_allow_no_wildcards(local_plan: Planned) -> None:
    """No policy of a role has a wildcard among its actions, and everything only where nothing can be named."""
    unnamed = re.compile(r"sns:ListTopics|xray:.*|logs:.*|ec2:.*|states:SendTask.*")  # the last on the emulator alone
    for role in local_plan.all("aws_iam_role_policy"):
        if "policy" not in role:
            continue  # known after the apply: it names the role's own log group
        statements = json.loads(role["policy"])["Statement"]
        sids = [statement["Sid"] for statement in statements]
        assert len(sids) == len(set(sids))
        for statement in statements:
            actions, resources = (
                [v] if isinstance(v, str) else v for v in (statement["Action"], statement["Resource"])
            )
            assert not any("*" in action for action in actions)
            if "*" in resources:
                assert all(unnamed.fullmatch(action) for action in actions)


def test_alarms_are_set_for_every_pipeline(local_plan: Planned) -> None:
    """The pipelines that Terraform finds in the declarations are those that the services load."""
    alarms = local_plan.named("aws_cloudwatch_metric_alarm", "alarm_name")
    judged = {name for name in alarms if name.endswith("-failed-records")}
    assert judged == {f"tidegate-{name}-failed-records" for name in PIPELINES}
    limited = {name for name, p in PIPELINES.items() if isinstance(p.source, SocrataSource) and p.source.max_records}
    assert {n for n in alarms if n.endswith("-limit-reached")} == {f"tidegate-{n}-limit-reached" for n in limited}
    watched = {name for name in alarms if name.endswith("-watermark-old")}
    assert watched == {f"tidegate-{schedule.pipeline}-watermark-old" for schedule in TOPOLOGY.schedules}
    for queue in TOPOLOGY.queues:
        assert f"tidegate-{queue.name}-dlq-not-empty" in alarms
    assert alarms["tidegate-chunk-worker-slow"]["threshold"] == 10 * 60 * 1000
    assert alarms["tidegate-chunk-worker-very-slow"]["threshold"] == 13 * 60 * 1000
