"""Every environment is valid, plans with its example variables and no credentials, and the local one can be made."""

import base64
import json
import re
from collections.abc import Callable

import pytest

from infra.packages.declared import read_packages
from tests.unit.infra.terraform_support import ENVIRONMENTS, Planned, Workspace, examples, plan

pytestmark = pytest.mark.deploy

KEPT_OTHERWISE = {
    "aws_cloudwatch_metric_alarm": "the emulator answers with alarms that have hardly any attributes",
    "aws_sfn_state_machine": "it forgets the tracing configuration",
    "aws_s3_object": "it forgets the tags of an object that was uploaded in parts",
}
"""What differs after an apply because of the emulator."""


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_valid(environment: str, workspace_of: Callable[[str], Workspace]) -> None:
    """Every environment is valid by itself, whatever its variables are."""
    ended = workspace_of(environment).run("validate", "-no-color")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_production_uses_the_layers_of_staging(workspace_of: Callable[[str], Workspace]) -> None:
    """With external_layer_arns nothing is published: each function gets the versions it needs, and nothing can go."""
    planned = plan(workspace_of("production"), *examples("production"))
    assert not planned.all("aws_lambda_layer_version")
    functions = planned.named("aws_lambda_function", "function_name")
    for name, function in read_packages().functions.items():
        given = functions[f"acme-tidegate-{name.replace('_', '-')}"]["layers"]
        assert [re.split("[-:]", arn)[-2] for arn in given] == list(function.layers)
    assert all(table["deletion_protection_enabled"] for table in planned.all("aws_dynamodb_table"))
    assert not any(
        bucket["force_destroy"] for a, bucket in planned.resources["aws_s3_bucket"].items() if ".buckets." in a
    )


def test_staging_publishes_layers_and_enters_the_vpc(workspace_of: Callable[[str], Workspace]) -> None:
    """Staging publishes what production takes over, and runs what talks to databases in the given subnets."""
    planned = plan(workspace_of("staging"), *examples("staging"))
    needed = {layer for function in read_packages().functions.values() for layer in function.layers}
    layers = planned.named("aws_lambda_layer_version", "layer_name")
    assert set(layers) == {f"acme-tidegate-staging-{layer}" for layer in needed}
    digest = layers["acme-tidegate-staging-aws_sdk"]["source_code_hash"]
    assert len(base64.b64decode(digest)) == 32
    inside = {name for name, f in planned.named("aws_lambda_function", "function_name").items() if f["vpc_config"]}
    assert inside == {f"acme-tidegate-staging-{name}" for name in ("planner", "fetcher", "chunk-worker")}
    assert len(planned.all("aws_kms_key")) == 1


def test_wrong_values_are_refused_in_one_go(workspace_of: Callable[[str], Workspace]) -> None:
    """A name that AWS refuses, a token in the clear and an address that is none end the plan with their reasons."""
    wrong = {"stack": "Acme", "socrata_app_token": "abc", "alarm_email": "nobody", "external_layer_arns": "[]"}
    given = [f"-var={name}={value}" for name, value in wrong.items()]
    ended = workspace_of("production").run("plan", "-no-color", *examples("production"), *given)
    assert ended.returncode == 1
    text = " ".join(ended.stderr.split())
    assert "stack: a lower-case letter" in text
    assert "the token itself would lie in the state" in text
    assert "alarm_email: not an address" in text


def test_the_local_stack_is_made_and_stays(workspace_of: Callable[[str], Workspace], local_plan: Planned) -> None:
    """An apply makes everything; a second plan finds only what the emulator does not keep."""
    workspace = workspace_of("local")
    count = sum(len(kind) for kind in local_plan.resources.values())
    try:
        applied = workspace.run("apply", "-no-color", "-auto-approve", "-parallelism=20")
        assert applied.returncode == 0, applied.stderr
        assert f"Resources: {count} added, 0 changed, 0 destroyed" in applied.stdout
        again = workspace.run("plan", "-no-color", "-detailed-exitcode", "-out=again.tfplan")
        assert again.returncode in {0, 2}, again.stderr
        changes = json.loads(workspace.run("show", "-json", "again.tfplan").stdout)["resource_changes"]
        changed = {change["type"] for change in changes if change["change"]["actions"] != ["no-op"]}
        assert changed <= KEPT_OTHERWISE.keys()
    finally:
        (workspace.folder / "terraform.tfstate").unlink(missing_ok=True)  # the emulator goes with the session
