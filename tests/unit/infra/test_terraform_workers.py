"""Services as workers on Fargate: what the plan makes of `ecs_workers`, which no environment gives by default."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from tests.unit.infra.conftest import ACCOUNT
from tests.unit.infra.terraform_support import Planned, Workspace, plan

pytestmark = pytest.mark.deploy

WORKERS = """
  ecs_workers = {
    image      = "111122223333.dkr.ecr.us-east-1.amazonaws.com/tidegate:1.0"
    vpc_id     = "vpc-0a1b2c3d4e5f60718"
    subnet_ids = ["subnet-0a1b2c3d4e5f60718"]
    services   = { merger = { cpu = 2048, memory_mb = MEMORY_MB }, chunk_worker = {} }
  }
}
"""


def with_workers(project: Path, memory_mb: int) -> str:
    """An environment like the local one, with two services as workers; its name."""
    name = f"workers-{memory_mb}"
    folder = project / "infra/terraform/environments" / name
    shutil.copytree(folder.parent / "local", folder, ignore=shutil.ignore_patterns(".terraform*", "*.tf*plan*"))
    main = folder / "main.tf"
    text = main.read_text(encoding="utf-8").rstrip().removesuffix("}")
    main.write_text(text + WORKERS.replace("MEMORY_MB", str(memory_mb)), encoding="utf-8")
    return name


@pytest.fixture(scope="module")
def variables(emulator: Emulator) -> list[str]:
    """Where the emulator is."""
    return [f"-var=endpoint={emulator.endpoint}", f"-var=account={ACCOUNT}"]


@pytest.fixture(scope="module")
def planned(project: Path, workspace_of: Callable[[str], Workspace], variables: list[str]) -> Planned:
    """The plan with sizes that Fargate has."""
    return plan(workspace_of(with_workers(project, 8192)), *variables)


def test_a_worker_runs_its_service(planned: Planned) -> None:
    """Each has a task of the given size that starts the service's worker and knows the stack."""
    tasks = planned.named("aws_ecs_task_definition", "family")
    assert set(tasks) == {"tidegate-merger-worker", "tidegate-chunk-worker-worker"}
    assert (tasks["tidegate-merger-worker"]["cpu"], tasks["tidegate-merger-worker"]["memory"]) == ("2048", "8192")
    [container] = json.loads(tasks["tidegate-chunk-worker-worker"]["container_definitions"])
    assert container["command"] == ["services.chunk_worker.worker"]
    assert {"name": "TIDEGATE_STACK", "value": "tidegate"} in container["environment"]


def test_a_queue_has_one_kind_of_consumer(planned: Planned) -> None:
    """The functions of these services read their queues no more; the others go on."""
    enabled = [mapping["enabled"] for mapping in planned.all("aws_lambda_event_source_mapping")]
    theirs = [queue for queue in TOPOLOGY.queues if queue.consumer in {"merger", "chunk_worker"}]
    assert enabled.count(False) == len(theirs)
    assert enabled.count(True) == len(TOPOLOGY.queues) - len(theirs)


def test_sizes_that_fargate_lacks_are_refused(
    project: Path, workspace_of: Callable[[str], Workspace], variables: list[str]
) -> None:
    """The plan says so, before anything is made."""
    ended = workspace_of(with_workers(project, 1024)).run("plan", "-no-color", *variables)
    assert ended.returncode == 1
    assert "Fargate has no task with this cpu and memory_mb" in " ".join(ended.stderr.split())
