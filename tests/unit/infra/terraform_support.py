"""Environments of Terraform in a copy of the project, and what they plan."""

import io
import json
import shutil
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.packages.declared import read_packages

ENVIRONMENTS = ("local", "staging", "production")
PATIENCE_S = 600

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
            found[resource["type"]][resource["address"]] = resource.get("values", {})  # absent: nothing known yet
    return Planned(found)
