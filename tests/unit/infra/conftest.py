"""Environments that are initialised once for all tests that plan them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.console.local.emulator import Emulator
from services.runtime.settings import PROJECT
from tests.unit.infra.terraform_support import Planned, Workspace, plan, put_packages

PLUGINS = "TIDEGATE_TERRAFORM_PLUGIN_DIR"
"""Variable that names a folder with the provider, for machines that reach no registry."""

ACCOUNT = "000000000777"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Terraform reads, so that nothing is left in the tree."""
    copy = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan")
    for part in ("infra/terraform", "contracts/schemas", "pipelines"):
        shutil.copytree(PROJECT / part, copy / part, ignore=ignored)
    put_packages(copy / "dist")
    return copy


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def local_plan(workspace_of: Callable[[str], Workspace]) -> Planned:
    """The plan of the local environment, of which the emulator makes most attributes known."""
    return plan(workspace_of("local"))
