"""What the Terraform modules say, read as text: nothing is listed a second time, and every permission has a reason."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.topology import TOPOLOGY
from services.runtime.settings import PROJECT

ROOT = PROJECT / "infra" / "terraform"
FILES = sorted(ROOT.rglob("*.tf"))
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES}
MODULES = sorted(path for path in (ROOT / "modules").iterdir() if path.is_dir())
ENVIRONMENTS = ("local", "staging", "production")

DECLARED = sorted(
    {
        resource.name
        for resources in (
            TOPOLOGY.queues,
            TOPOLOGY.topics,
            TOPOLOGY.tables,
            TOPOLOGY.buckets,
            TOPOLOGY.schedules,
            TOPOLOGY.state_machines,
        )
        for resource in resources
    }
)

SID = re.compile(r'^ *sid += "(\w+)"$', re.MULTILINE)
CALL = re.compile(r"\b(?:self\._)?(?:client|sqs|sns|_sqs|_sns)\.([a-z_]+)\(")
"""A call of an AWS client in an adapter."""

ACTIONS = {
    "get_object": ["s3:GetObject", "s3:GetObjectVersion"],
    "head_object": ["s3:GetObject"],
    "head_bucket": ["s3:ListBucket"],
    "put_object": ["s3:PutObject"],
    "list_objects_v2": ["s3:ListBucket"],
    "list_object_versions": ["s3:ListBucketVersions"],
    "create_multipart_upload": ["s3:PutObject"],
    "upload_part": ["s3:PutObject"],
    "upload_part_copy": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
    "complete_multipart_upload": ["s3:PutObject"],
    "abort_multipart_upload": ["s3:AbortMultipartUpload"],
    "get_item": ["dynamodb:GetItem"],
    "put_item": ["dynamodb:PutItem"],
    "update_item": ["dynamodb:UpdateItem"],
    "query": ["dynamodb:Query"],
    "batch_get_item": ["dynamodb:BatchGetItem"],
    "batch_write_item": ["dynamodb:BatchWriteItem"],
    "transact_write_items": ["dynamodb:PutItem", "dynamodb:UpdateItem"],
    "send_message_batch": ["sqs:SendMessage"],
    "get_queue_url": ["sqs:GetQueueUrl"],
    "publish": ["sns:Publish"],
    "list_topics": ["sns:ListTopics"],
    "get_secret_value": ["secretsmanager:GetSecretValue"],
    "send_task_success": ["states:SendTaskSuccess"],
    "send_task_failure": ["states:SendTaskFailure"],
    "send_task_heartbeat": ["states:SendTaskHeartbeat"],
}
FOR_OPERATORS = {"delete_object", "list_multipart_uploads", "scan"}
"""What only the operator's commands do, with the operator's own rights."""

NOT_CALLS = {"get_paginator"}


def terraform(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run terraform in a folder; the test is skipped where it is not installed."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_files_are_formatted() -> None:
    """Every file is as `terraform fmt` writes it."""
    ended = terraform("fmt", "-check", "-recursive", "-list=true", folder=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", DECLARED)
def test_no_declared_resource_is_named(name: str) -> None:
    """A resource of the topology is named in no file, except as the key of the map that was read from the topology."""
    named = re.compile(rf'(?<!\[)"(?:\$\{{var\.stack\}}-)?{re.escape(name)}"(?!\])')
    for path, text in TEXTS.items():
        code = re.sub(r"#.*", "", text)
        assert not named.search(code), path


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("queues", 'module "queues"'),
        ("tables", 'module "tables"'),
        ("buckets", 'module "buckets"'),
        ("topics", 'module "topics"'),
        ("schedules", 'module "schedules"'),
        ("state_machines", 'module "state_machines"'),
    ],
)
def test_every_kind_is_taken_from_the_topology(kind: str, resource: str) -> None:
    """The platform hands what the topology lists to the module that makes it."""
    main = TEXTS["modules/platform/main.tf"]
    block = main[main.index(resource) :].split("\n}\n")[0]
    taken = "local.queues" if kind == "queues" else f"local.topology.{kind}"
    assert taken in block


def test_sids_are_unique() -> None:
    """A statement's name says whose it is: no two statements of all policies have one name."""
    sids = [sid for text in TEXTS.values() for sid in SID.findall(text)]
    assert len(sids) == len(set(sids))
    assert sum(len(re.findall(r'\bstatement"? {', text)) for text in TEXTS.values()) == len(sids)


@pytest.mark.parametrize("path", [path for path, text in TEXTS.items() if "sid " in text])
def test_every_statement_says_why(path: str) -> None:
    """Above each statement's name stands which code needs it, or why it is refused."""
    lines = TEXTS[path].splitlines()
    for number, line in enumerate(lines):
        if SID.fullmatch(line):
            assert lines[number - 1].lstrip().startswith("# "), f"{path}:{number + 1}"


@pytest.mark.parametrize("path", [path for path in TEXTS if "permissions_" in path])
def test_services_are_allowed_no_more_than_they_call(path: str) -> None:
    """No wildcard among the actions, no deletion, and everything is possible only where nothing can be named."""
    text = TEXTS[path]
    actions = set(re.findall(r'"([a-z0-9]+:[A-Za-z*]+)"', text))
    assert actions <= {action for each in ACTIONS.values() for action in each}
    for block in text.split("statement {")[1:]:
        if '["*"]' in block.split("\n  }\n")[0]:
            assert '"sns:ListTopics"' in block


def test_every_call_of_an_adapter_is_allowed_to_some_service() -> None:
    """An adapter that begins to call something new fails here, before it fails on AWS."""
    adapters = [*(PROJECT / "services/runtime/aws").glob("*.py"), *PROJECT.glob("services/*/adapters/**/*.py")]
    called: set[str] = set()
    for path in adapters:
        text = path.read_text()
        called |= set(CALL.findall(text)) | set(re.findall(r'get_paginator\("(\w+)"\)', text))
    called -= NOT_CALLS | FOR_OPERATORS
    assert called <= ACTIONS.keys()
    allowed = "".join(text for path, text in TEXTS.items() if "permissions_" in path)
    for call in sorted(called):
        for action in ACTIONS[call]:
            assert f'"{action}"' in allowed, f"{call} takes {action}"


def test_every_consumer_has_a_policy_and_a_size() -> None:
    """A service that the topology begins to name cannot be forgotten."""
    text = TEXTS["modules/platform/services.tf"]
    for consumer in sorted({queue.consumer for queue in TOPOLOGY.queues}):
        assert f"data.aws_iam_policy_document.{consumer}.json" in text
        assert re.search(rf"^ +{consumer} += {{ memory_mb = \d+", text, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_names_its_provider(module: Path) -> None:
    """Every module says which Terraform and which provider it was written for."""
    text = (module / "versions.tf").read_text()
    assert 'required_version = ">= 1.9"' in text
    assert 'version = "~> 5.100"' in text


@pytest.mark.parametrize("path", [path for path in TEXTS if path.endswith(("variables.tf", "outputs.tf"))])
def test_variables_and_outputs_are_described(path: str) -> None:
    """Every variable has a description and a type, every output a description."""
    for block in re.split(r"(?m)^(?=variable|output)", TEXTS[path]):
        if block.startswith(("variable", "output")):
            assert re.search(r'^  description = ".+\."$', block, re.MULTILINE), block
        if block.startswith("variable"):
            assert re.search(r"^  type +=", block, re.MULTILINE), block


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_wiring(environment: str) -> None:
    """Environments call the platform and declare no resource of their own."""
    texts = [text for path, text in TEXTS.items() if path.startswith(f"environments/{environment}/")]
    assert not re.search(r"^(resource|data) ", "\n".join(texts), re.MULTILINE)
    assert sum(text.count('source = "../../modules/platform"') for text in texts) == 1


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_operators_know_is_there(environment: str) -> None:
    """Layers are chosen by the variables, and read back by the outputs, that operators know."""
    variables = TEXTS[f"environments/{environment}/variables.tf"]
    for name in ("reuse_existing_layers", "use_external_layer_arns", "external_layer_arns", "force_layer_update"):
        assert f'variable "{name}"' in variables
    outputs = TEXTS[f"environments/{environment}/outputs.tf"]
    for name in ("lambda_function_arns", "lambda_function_names", "layer_arns", "all_layer_arns"):
        assert f'output "{name}"' in outputs


@pytest.mark.parametrize("path", [path for path, text in TEXTS.items() if "checkov:skip" in text])
def test_every_waived_check_says_why(path: str) -> None:
    """A check of the linter for infrastructure is waived in place, with a reason."""
    for line in TEXTS[path].splitlines():
        if "checkov:skip" in line:
            assert re.search(r"#checkov:skip=CKV2?_AWS_\d+:\w.{20,}", line), line
