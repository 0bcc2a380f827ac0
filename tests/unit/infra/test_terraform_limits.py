"""What AWS checks and the emulator does not: lengths of names, sizes of policies, and who may use a key."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from contracts.topology import TOPOLOGY
from services.runtime.settings import PROJECT
from tests.unit.infra.terraform_support import Planned, Values, Workspace, examples, plan

ROOT = PROJECT / "infra" / "terraform"
ROLE_NAME = 64
LIMITS = {
    ("aws_iam_role", "name"): ROLE_NAME,
    ("aws_lambda_function", "function_name"): 64,
    ("aws_s3_bucket", "bucket"): 63,
    ("aws_sqs_queue", "name"): 80,
    ("aws_sfn_state_machine", "name"): 80,
    ("aws_scheduler_schedule", "name"): 64,
    ("aws_scheduler_schedule_group", "name"): 64,
    ("aws_cloudwatch_metric_alarm", "alarm_name"): 255,
    ("aws_athena_workgroup", "name"): 128,
    ("aws_lambda_layer_version", "layer_name"): 140,
}
"""Most characters of a name, by resource and attribute."""
INLINE_POLICIES = 10_240
"""Most characters of all inline policies of one role together, white space not counted."""
BASE_POLICY = 3_200
"""What the policy takes that every function has; its plan is not known before the log group is there."""
EVENT_LOGS = "222233334444"
OTHER_KEY = f"arn:aws:kms:eu-central-1:{EVENT_LOGS}:key/0a1b2c3d-0000-4000-8000-000000000000"


def longest_stack() -> str:
    """The longest name that the variable ``stack`` takes."""
    text = (ROOT / "modules/platform/variables.tf").read_text(encoding="utf-8")
    found = re.search(r'"\^\[a-z\]\[a-z0-9-\]\{1,(\d+)\}\$", var\.stack', text)
    assert found
    return "s" * (1 + int(found[1]))


def statements(document: str) -> Mapping[str, Values]:
    """The statements of a policy by their names."""
    return {statement["Sid"]: statement for statement in json.loads(document)["Statement"]}


def test_the_longest_stack_leaves_room_for_the_longest_role() -> None:
    """IAM refuses names of more than 64 characters, after half of the stack has been made."""
    for machine in TOPOLOGY.state_machines:
        assert len(f"{longest_stack()}-states-{machine.name}") <= ROLE_NAME


def test_what_a_topic_may_not_deliver_is_kept() -> None:
    """SNS drops what a queue's policy or key refuses, unless the subscription has dead letters that take it."""
    main = (ROOT / "modules/platform/main.tf").read_text(encoding="utf-8")
    block = main[main.index('resource "aws_sns_topic_subscription"') :].split("\n}\n")[0]
    assert "dlq_arn" in block
    assert "DeadLettersTakeWhatTopicsKeep" in (ROOT / "modules/queue_with_dlq/main.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_lock_file_asks_for_the_terraform_that_has_it(environment: str) -> None:
    """An older Terraform ends with the version that is needed, not with an argument that it does not know."""
    text = (ROOT / "environments" / environment / "main.tf").read_text(encoding="utf-8")
    assert "use_lockfile" in text
    assert 'required_version = ">= 1.10"' in text


@pytest.fixture(scope="module")
def largest(workspace_of: Callable[[str], Workspace]) -> Planned:
    """Production with the longest name and everything that adds to its policies."""
    given: Mapping[str, Any] = {
        "stack": longest_stack(),
        "event_log_bucket": "e" * 63,
        "event_log_account": EVENT_LOGS,
        "checkpoint_bucket": "c" * 63,
        "other_key_arns": json.dumps([OTHER_KEY]),
    }
    return plan(
        workspace_of("production"), *examples("production"), *(f"-var={name}={value}" for name, value in given.items())
    )


@pytest.mark.deploy
def test_every_name_is_short_enough(largest: Planned) -> None:
    """With the longest stack no name is longer than its service takes."""
    for (kind, attribute), most in LIMITS.items():
        for values in largest.all(kind):
            assert len(values[attribute]) <= most, values[attribute]


@pytest.mark.deploy
def test_policies_of_a_role_fit(largest: Planned) -> None:
    """With the longest names the policies of a service are within what IAM takes for one role."""
    sizes = {
        address: len(re.sub(r"\s", "", values["policy"]))
        for address, values in largest.resources["aws_iam_role_policy"].items()
        if address.endswith(".service") and "policy" in values
    }
    assert sizes
    assert {address: size for address, size in sizes.items() if size > INLINE_POLICIES - BASE_POLICY} == {}


@pytest.mark.deploy
def test_a_key_serves_deliveries_by_their_topics(largest: Planned) -> None:
    """Topics deliver under the key as this stack's; buckets of the other account may publish under it."""
    [key] = largest.all("aws_kms_key")
    by_name = statements(key["policy"])
    [sender] = by_name["KeyServesDeliveries"]["Condition"]["ArnLike"].values()
    assert sender.endswith(f":{longest_stack()}-*")
    assert EVENT_LOGS in by_name["KeyServesTheHandOver"]["Condition"]["StringEquals"]["aws:SourceAccount"]


@pytest.mark.deploy
def test_metrics_are_not_filtered_away(largest: Planned) -> None:
    """Lambda takes lines without a level, which embedded metrics are, for INFO, and lets those through."""
    for function in largest.all("aws_lambda_function"):
        assert function["logging_config"][0]["application_log_level"] in {"DEBUG", "INFO"}
