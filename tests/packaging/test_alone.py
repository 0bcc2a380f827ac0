"""Each function as it is packaged: its own modules, the libraries of its layers, and nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.packages.declared import PROJECT
from services.runtime.aws.clients import SERVICES as CLIENTS
from tests.packaging.packages_support import PACKAGES, SERVICES, USES, Unpacked, linked

PYTHON = (sys.executable,)
SHELLS = ("handler", "worker")


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    """The name of a service."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages are put together, each layer once."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture
def package(service: str, folder: Path) -> Unpacked:
    """A service with the layers that it has by default."""
    return linked(folder, service, PACKAGES.functions[service].layers)


@pytest.fixture(params=sorted(USES))
def layer(request: pytest.FixtureRequest) -> str:
    """The name of a layer."""
    return str(request.param)


def attached(layer: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The services that have a layer, each with all of its layers."""
    for name, function in PACKAGES.functions.items():
        if layer in function.layers + function.optional:
            yield name, function.layers + function.optional


def succeeded(ended: subprocess.CompletedProcess[str]) -> str:
    """What a process printed.

    Raises:
        AssertionError: it failed; with what it said.
    """
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_module_of_a_function_imports_with_its_layers_only(service: str, package: Unpacked) -> None:
    """None of them needs a file of the checkout, a library of another layer, or an AWS account."""
    found = json.loads(succeeded(package.import_all(PYTHON)))
    assert [file for file in found["files"].values() if not file.startswith(str(package.function))] == []
    assert {f"services.{service}.{name}" for name in SHELLS} <= set(found["files"])


def test_a_function_has_no_other_service_and_no_console(service: str, package: Unpacked) -> None:
    """What a service does not reach is not in its zip."""
    found = {".".join(name.split(".")[:2]) for name in package.modules() if name.startswith("services.")}
    assert found <= {f"services.{service}", "services.runtime"}


def test_a_function_has_the_declarations(package: Unpacked) -> None:
    """All of pipelines/ is there, job folders with their SQL too, and nothing that Python left behind."""
    assert {file.name for file in (package.function / "pipelines").glob("*.toml")} >= {"ecommerce.toml", "nyc_311.toml"}
    assert list((package.function / "pipelines").glob("*/sql/*.sql"))
    assert [str(file) for file in package.function.rglob("*") if "__pycache__" in file.parts] == []


def test_a_function_has_the_data_of_its_packages(folder: Path) -> None:
    """Statements that a module reads from beside itself are in the zip of who reaches that module."""
    package = linked(folder, "planner", ())
    data = package.function / "services/runtime/postgres/chunk_sql"
    assert {file.name for file in data.iterdir()} == {
        file.name for file in (PROJECT / "services/runtime/postgres/chunk_sql").glob("*.sql")
    }
    assert not (package.function / "contracts/schemas").exists()


def test_a_layer_does_its_work_after_trimming(layer: str, folder: Path) -> None:
    """What a layer leaves out its libraries do without."""
    name, layers = next(attached(layer))
    succeeded(linked(folder, name, layers).use(PYTHON, USES[layer]))


def test_the_sdk_layer_describes_every_client() -> None:
    """A service of AWS that is added to Clients has to be added to what the layer keeps."""
    kept = {pattern.split("/")[2] for pattern in PACKAGES.layers["aws_sdk"].keep}
    assert kept == {*CLIENTS, "sts"}


def test_a_missing_layer_is_noticed(service: str, folder: Path) -> None:
    """The interpreter sees none of the libraries that are installed here."""
    without = [name for name in PACKAGES.functions[service].layers if name != "aws_sdk"]
    ended = linked(folder, service, without).import_all(PYTHON)
    assert ended.returncode == 1
    assert re.search("No module named '(aioboto3|aiobotocore|aiohttp|boto3|botocore)'", ended.stderr)
