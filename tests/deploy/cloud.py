"""The AWS emulator with its policies enforced, the sample sources, and the stack that Terraform makes there."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.packages.build import Places, build_all
from infra.packages.declared import read_packages
from infra.packages.sizes import weighed
from infra.packages.wheels import NATIVE, Target
from services.console.local.emulator import HOST, Emulator, choose_port
from services.console.local.environment import pointed_at, without_aws
from services.console.local.processes import tags
from services.console.local.samples import Samples
from services.console.local.shop import discard
from services.console.local.state import REGION, DataDir, ShopPorts
from services.console.local.venv import ensure_installed
from services.console.local.worker import Worker
from services.console.output import note
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT

PLUGINS = "TIDEGATE_TERRAFORM_PLUGIN_DIR"
"""Variable that names a folder with the provider, for machines that reach no registry."""

STACK = "deployed"
ACCOUNT = "000000000000"
CONCURRENCY = "2"
"""Containers of a function for each of its queues: to start one takes a processor for seconds."""
APPLY_WITHIN_S = 900
SAMPLES_END_WITHIN_S = 20.0
ARCHITECTURES: Mapping[str, str] = {"aarch64": "arm64", "AMD64": "x86_64"}
"""What Lambda calls a machine's own processor."""

Values = dict[str, Any]


@contextmanager
def enforcing_emulator(folder: Path) -> Iterator[Emulator]:
    """An emulator that asks the policies of a role before it does what a function wants."""
    python = folder / "python"
    # It takes its own settings from its environment, of which a stack needs no more than the emulator passes on.
    python.write_text(f'#!/bin/sh\nAUTH=true exec "{ensure_installed(note)}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    emulator = Emulator.start(folder / "emulator", python=python)
    try:
        yield emulator
    finally:
        emulator.stop()


@dataclass
class Sources:
    """The portal, the database and the interface that the samples come from."""

    home: DataDir
    socrata: int = field(default_factory=choose_port)
    shop: ShopPorts = field(default_factory=lambda: ShopPorts(postgres=choose_port(), commerce=choose_port()))
    workers: list[Worker] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """What declarations call them."""
        return {
            "SOCRATA_DOMAIN_URL": f"http://{HOST}:{self.socrata}",
            "PAYMENTS_API_URL": f"http://{HOST}:{self.shop.commerce}",
        }

    async def start(self) -> None:
        """Start and fill them, and put what the services connect with into Secrets Manager."""
        samples = Samples(self.home, self.socrata, self.shop)

        def start(name: str, command: Any, environ: Mapping[str, str]) -> Worker:
            worker = Worker(name, command, {**environ, **tags(self.home.path, name)}, self.home.log(name))
            worker.start()
            self.workers.append(worker)
            return worker

        samples.start(start, without_aws(os.environ), ensure_installed(note))
        try:
            async with Clients("secretsmanager") as clients:
                await samples.publish(clients)
            samples.wait(lambda: False)
        finally:
            samples.abandon()

    def stop(self) -> None:
        """End them and remove what they kept."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.stop(SAMPLES_END_WITHIN_S)
        discard(self.home.path)


@dataclass(frozen=True)
class Deployed:
    """A stack that Terraform makes on an emulator, from packages for the emulator's own Python."""

    endpoint: str
    folder: Path
    variables: Mapping[str, str]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of whoever works on the stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TIDEGATE_STACK": STACK,
            **self.variables,
        }

    def resource(self, name: str) -> str:
        """The deployed name of a resource."""
        return f"{STACK}-{name}"

    def copy_project(self) -> None:
        """Copy what Terraform reads, so that nothing is left in the tree, and build the packages beside it."""
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan", "*.tfvars", "*.hcl")
        for part in ("infra/terraform", "contracts/schemas", "pipelines"):
            shutil.copytree(PROJECT / part, self.folder / part, ignore=ignored)
        packages = read_packages()
        target = Target(f"{sys.version_info.major}.{sys.version_info.minor}", NATIVE, packages.glibc)
        dist = self.folder / "dist"
        built = build_all(packages, target, Places(dist, PROJECT / "dist" / "wheels"), say=note)
        sizes = weighed(packages, built, target)
        sizes["architecture"] = ARCHITECTURES.get(platform.machine(), platform.machine())
        (dist / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")

    def terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform in the environment ``local``."""
        given = {"endpoint": self.endpoint, "account": ACCOUNT, "region": REGION, "stack": STACK}
        given["maximum_concurrency"] = CONCURRENCY
        portal = {"SOCRATA_DOMAIN_URL": self.variables["SOCRATA_DOMAIN_URL"]}
        given["settings"] = json.dumps({"planner": portal, "fetcher": portal})
        given["pipeline_variables"] = json.dumps({"PAYMENTS_API_URL": self.variables["PAYMENTS_API_URL"]})
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}
        environ |= {f"TF_VAR_{name}": value for name, value in given.items()}
        environ |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        program = shutil.which("terraform")
        assert program is not None
        return subprocess.run(
            [program, *arguments],
            cwd=self.folder / "infra/terraform/environments/local",
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=APPLY_WITHIN_S,
        )

    def init(self) -> str | None:
        """Initialise the environment; why it cannot be, if so."""
        if shutil.which("terraform") is None:
            return "terraform is not installed"
        plugins = os.environ.get(PLUGINS)
        ended = self.terraform("init", "-no-color", *([f"-plugin-dir={plugins}"] if plugins else []))
        if ended.returncode == 0:
            return None
        lines = [text for line in ended.stderr.splitlines() if (text := line.strip("│╷╵ "))]
        error = next((place for place, line in enumerate(lines) if line.startswith("Error")), 0)
        return f"terraform init does not find the provider; set {PLUGINS}: {' '.join(lines[error : error + 3])}"

    def changes(self) -> list[Values]:
        """What a plan would change now: Terraform's own description of each resource.

        Raises:
            AssertionError: the plan fails.
        """
        planned = self.terraform("plan", "-no-color", "-out=again.tfplan", "-parallelism=20")
        assert planned.returncode == 0, planned.stderr
        shown = self.terraform("show", "-json", "again.tfplan")
        assert shown.returncode == 0, shown.stderr
        found: list[Values] = json.loads(shown.stdout)["resource_changes"]
        return [change for change in found if change["change"]["actions"] not in (["no-op"], ["read"])]


@contextmanager
def working_on(deployed: Deployed) -> Iterator[None]:
    """Point the AWS clients of a block, and the settings it reads, at the stack."""
    with pointed_at(deployed.environ):
        yield
