"""What Terraform would make of each environment, planned against the emulator without any credentials."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.catalog import PLANNER_COMMANDS
from contracts.envelope import open_message
from contracts.runs import ScheduledScan
from contracts.sources import SocrataSource
from contracts.topology import TOPOLOGY
from infra.packages.declared import read_packages
from services.chunk_worker.config import ChunkWorkerSettings
from services.console.local.emulator import Emulator
from services.fetcher.config import FetcherSettings
from services.merger.config import MergerSettings
from services.planner.config import PlannerSettings
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT, Settings
from services.validator.config import ValidatorSettings

pytestmark = pytest.mark.deploy

PLUGINS = "TIDEGATE_TERRAFORM_PLUGIN_DIR"
"""Variable that names a folder with the provider, for machines that reach no registry."""

ENVIRONMENTS = ("local", "staging", "production")
ACCOUNT = "000000000777"
PATIENCE_S = 600
SETTINGS: Mapping[str, type[Settings]] = {
    "planner": PlannerSettings,
    "fetcher": FetcherSettings,
    "validator": ValidatorSettings,
    "merger": MergerSettings,
    "chunk_worker": ChunkWorkerSettings,
}
PIPELINES = load_pipelines(PROJECT / "pipelines")

KEPT_OTHERWISE = {
    "aws_cloudwatch_metric_alarm": "the emulator answers with alarms that have hardly any attributes",
    "aws_sfn_state_machine": "it forgets the tracing configuration",
    "aws_s3_object": "it forgets the tags of an object that was uploaded in parts",
}
"""What differs after an apply because of the emulator."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Workspace:
    """A copy of the project with one initialised environment."""

    folder: Path
    environ: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform in the environment's folder."""
        program = shutil.which("terraform")
        assert program is not None
        return subprocess.run(
            [program, *arguments],
            cwd=self.folder,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )


@dataclass(frozen=True)
class Planned:
    """The resources of a plan: their values by type and address."""

    resources: Mapping[str, Mapping[str, Values]]

    def all(self, kind: str) -> list[Values]:
        """Every resource of a type."""
        return list(self.resources.get(kind, {}).values())

    def named(self, kind: str, name: str = "name") -> dict[str, Values]:
        """Every resource of a type, by one of its attributes."""
        return {values[name]: values for values in self.all(kind)}


def placeholder() -> bytes:
    """A zip that stands for a package."""
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("placeholder.py", "")
        return buffer.getvalue()


def put_packages(folder: Path) -> None:
    """Packages of the declared shape with nothing in them: what they hold is no matter of Terraform's."""
    declared = read_packages()
    functions = {
        name: {"layers": list(function.layers), "optional_layers": list(function.optional)}
        for name, function in declared.functions.items()
    }
    sizes = {"python": declared.python, "architecture": declared.architecture, "functions": functions}
    (folder / "layers").mkdir(parents=True)
    (folder / "sizes.json").write_text(json.dumps(sizes))
    for name in functions:
        (folder / f"{name}.zip").write_bytes(placeholder())
    for name in declared.layers:
        (folder / "layers" / f"{name}.zip").write_bytes(placeholder())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Terraform reads, so that nothing is left in the tree."""
    copy = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan")
    for part in ("infra/terraform", "contracts/schemas", "pipelines"):
        shutil.copytree(PROJECT / part, copy / part, ignore=ignored)
    put_packages(copy / "dist")
    return copy


@pytest.fixture(scope="module")
def workspace_of(project: Path, emulator: Emulator) -> Callable[[str], Workspace]:
    """Environments by name, each initialised once."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    environ = kept | {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    }
    ready: dict[str, Workspace] = {}

    def open_environment(name: str) -> Workspace:
        if name not in ready:
            folder = project / "infra/terraform/environments" / name
            if name != "local":
                (folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
            own = {"TF_VAR_endpoint": emulator.endpoint, "TF_VAR_account": ACCOUNT} if name == "local" else {}
            workspace = Workspace(folder, environ | own)
            plugins = os.environ.get(PLUGINS)
            ended = workspace.run("init", "-no-color", *([f"-plugin-dir={plugins}"] if plugins else []))
            if ended.returncode:
                last = [line for line in ended.stderr.splitlines() if line.strip()][:3]
                pytest.skip(f"terraform init does not find the provider; set {PLUGINS}: {' '.join(last)}")
            ready[name] = workspace
        return ready[name]

    return open_environment


def examples(environment: str) -> list[str]:
    """The example variables that ship with an environment."""
    return [] if environment == "local" else ["-var-file=terraform.tfvars.example"]


def resources_of(module: Values) -> Iterator[Values]:
    """The resources of a module and of those within."""
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources_of(child)


def plan(workspace: Workspace, *arguments: str) -> Planned:
    """Plan an environment from nothing."""
    ended = workspace.run("plan", "-no-color", "-out=test.tfplan", *arguments)
    assert ended.returncode == 0, ended.stderr
    shown = workspace.run("show", "-json", "test.tfplan")
    assert shown.returncode == 0, shown.stderr
    found: dict[str, dict[str, Values]] = defaultdict(dict)
    for resource in resources_of(json.loads(shown.stdout)["planned_values"]["root_module"]):
        if resource["mode"] == "managed":
            found[resource["type"]][resource["address"]] = resource["values"]
    return Planned(found)


@pytest.fixture(scope="module")
def local(workspace_of: Callable[[str], Workspace]) -> Planned:
    """The plan of the local environment, of which the emulator makes most attributes known."""
    return plan(workspace_of("local"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_valid(environment: str, workspace_of: Callable[[str], Workspace]) -> None:
    """Every environment is valid by itself, whatever its variables are."""
    ended = workspace_of(environment).run("validate", "-no-color")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_queues_are_as_declared(local: Planned) -> None:
    """Every queue has its visibility, its retention, its DLQ, and the batches that the topology says."""
    queues, mappings = local.named("aws_sqs_queue"), local.all("aws_lambda_event_source_mapping")
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


def test_tables_and_buckets_are_as_declared(local: Planned) -> None:
    """Keys, backups, versions and expiry are those of the topology; unfinished uploads go from every bucket."""
    tables = local.named("aws_dynamodb_table")
    for table in TOPOLOGY.tables:
        deployed = tables[f"tidegate-{table.name}"]
        assert deployed["hash_key"] == table.partition_key.name
        assert (deployed["range_key"] or None) == (table.sort_key.name if table.sort_key else None)
        assert deployed["billing_mode"] == "PAY_PER_REQUEST"
        assert deployed["point_in_time_recovery"][0]["enabled"]
    versioned = {address for address in local.resources["aws_s3_bucket_versioning"] if ".buckets." in address}
    assert len(versioned) == sum(bucket.versioned for bucket in TOPOLOGY.buckets)
    lifecycles = local.resources["aws_s3_bucket_lifecycle_configuration"]
    for bucket in TOPOLOGY.buckets:
        (rules,) = (v["rule"] for a, v in lifecycles.items() if ".buckets." in a and f'["{bucket.name}"]' in a)
        by_id = {rule["id"]: rule for rule in rules}
        assert by_id["abort-incomplete-uploads"]["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 7
        assert ("expire" in by_id) == (bucket.expire_days is not None)
        assert ("expire-noncurrent" in by_id) == (bucket.noncurrent_expire_days is not None)


def test_a_schedule_says_what_the_planner_understands(local: Planned) -> None:
    """Filled in as the scheduler does it, a schedule's input is a scan of its pipeline; one slot is one request."""
    schedules = local.named("aws_scheduler_schedule")
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


def test_functions_have_their_settings_and_time(local: Planned) -> None:
    """A function may take as long as its slowest queue allows, and is given only variables that something reads."""
    functions = local.named("aws_lambda_function", "function_name")
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


def test_policies_allow_no_wildcards(local: Planned) -> None:
    """No policy of a role has a wildcard among its actions, and everything only where nothing can be named."""
    unnamed = re.compile(r"sns:ListTopics|xray:.*|logs:.*|ec2:.*")
    for role in local.all("aws_iam_role_policy"):
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


def test_alarms_are_set_for_every_pipeline(local: Planned) -> None:
    """The pipelines that Terraform finds in the declarations are those that the services load."""
    alarms = local.named("aws_cloudwatch_metric_alarm", "alarm_name")
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


def test_the_local_stack_is_made_and_stays(workspace_of: Callable[[str], Workspace], local: Planned) -> None:
    """An apply makes everything; a second plan finds only what the emulator does not keep."""
    workspace = workspace_of("local")
    count = sum(len(kind) for kind in local.resources.values())
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
