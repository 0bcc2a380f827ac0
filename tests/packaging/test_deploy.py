"""Full builds of what is deployed, tried in clean interpreters. Some 150 MB of wheels are fetched the first time."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.packages.build import Built, Places, build_all, build_layer
from infra.packages.declared import PROJECT, PackagingError
from infra.packages.sizes import violations, weighed
from infra.packages.wheels import NATIVE, Target
from tests.packaging.packages_support import NO_ACCOUNT, PACKAGES, SERVICES, USES, Unpacked, unpack
from tests.packaging.test_container import copied, instructions

pytestmark = pytest.mark.deploy

LAMBDA = Target(PACKAGES.python, PACKAGES.architecture, PACKAGES.glibc)
ARM = Target(PACKAGES.python, "arm64", PACKAGES.glibc)
HERE = Target(f"{sys.version_info.major}.{sys.version_info.minor}", NATIVE, PACKAGES.glibc)
WHEELS = PROJECT / "dist" / "wheels"


def build(target: Target, output: Path) -> Built:
    """Everything for a target; wheels are kept where ``make package`` keeps them."""
    try:
        return build_all(PACKAGES, target, Places(output, WHEELS), say=print)
    except PackagingError as error:
        if str(error).startswith("not fetched"):
            pytest.skip(f"no package index can be reached: {error}")
        raise


def interpreter_of(target: Target) -> list[str]:
    """The command of an interpreter that the packages of a target are for; the test is skipped where there is none."""
    if target == HERE:
        return [sys.executable]
    python = shutil.which(f"python{target.python}")
    if python is None or (platform.system(), platform.machine()) != ("Linux", target.architecture):
        pytest.skip(f"no Python {target.python} for Linux on {target.architecture} here")
    ended = subprocess.run([python, "-I", "-c", "import sys; print(sys.executable)"], capture_output=True, check=False)
    if ended.returncode:
        pytest.skip(f"{python} does not run")
    return [python]


@pytest.fixture(scope="module", params=[HERE, LAMBDA], ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    """This interpreter, for which there is always one to try packages in, and that of Lambda."""
    assert isinstance(request.param, Target)
    return request.param


@pytest.fixture(scope="module")
def built(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A full build."""
    return build(target, tmp_path_factory.mktemp(target.name))


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All zips of a build, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name, archive in {**built.functions, **built.layers}.items():
        unpack(archive.path, folder / name)
    return folder


def attached(unpacked: Path, service: str, *, optional: bool = False) -> Unpacked:
    """A function with its layers, as Lambda puts them together."""
    function = PACKAGES.functions[service]
    layers = function.layers + (function.optional if optional else ())
    return Unpacked(unpacked / service, tuple(unpacked / name / "python" for name in layers))


@pytest.mark.parametrize("service", SERVICES)
def test_a_function_imports_with_its_layers(service: str, target: Target, unpacked: Path) -> None:
    """Every module, in an interpreter that sees what Lambda's would."""
    ended = attached(unpacked, service).import_all(interpreter_of(target))
    assert ended.returncode == 0, ended.stderr
    assert {f"services.{service}.handler", f"services.{service}.worker"} <= set(json.loads(ended.stdout)["files"])


@pytest.mark.parametrize("layer", sorted(USES))
def test_a_layer_does_its_work(layer: str, target: Target, unpacked: Path) -> None:
    """Compiled parts too; besides it there are the other layers of a function that has it."""
    service = next(
        name for name, function in PACKAGES.functions.items() if layer in function.layers + function.optional
    )
    ended = attached(unpacked, service, optional=True).use(interpreter_of(target), USES[layer])
    assert ended.returncode == 0, ended.stderr


def test_lambda_takes_every_function(target: Target, built: Built, unpacked: Path) -> None:
    """With all its layers; and what it weighs is what unpacking it takes."""
    weights = weighed(PACKAGES, built, target)
    assert violations(weights) == []
    for name, archive in built.layers.items():
        on_disk = sum(file.stat().st_size for file in (unpacked / name).rglob("*") if file.is_file())
        assert weights["layers"][name]["unzipped"] == archive.unzipped == on_disk


def test_lambda_takes_every_function_on_the_other_architecture(tmp_path: Path) -> None:
    """There are wheels for it, and they fit too."""
    assert violations(weighed(PACKAGES, build(ARM, tmp_path), ARM)) == []


def test_a_second_build_is_the_same_and_needs_no_network(
    target: Target, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheels are at hand, and every layer comes out byte for byte."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    again = {name: build_layer(name, PACKAGES, target, Places(tmp_path, WHEELS)) for name in PACKAGES.layers}
    assert {name: each.sha256 for name, each in again.items()} == {n: each.sha256 for n, each in built.layers.items()}


def test_the_steps_of_the_container_make_workers(tmp_path: Path) -> None:
    """Its libraries in an environment, its files in a folder, and its command for each service."""
    _, libraries, worker = instructions()
    python = tmp_path / "libraries" / "bin" / "python"
    app = tmp_path / "tidegate"
    (requirements,) = copied(libraries)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(PROJECT / requirements)], check=True, timeout=600)
    for source in copied(worker):
        shutil.copytree(PROJECT / source, app / source, ignore=shutil.ignore_patterns("__pycache__", "console"))
    for service in SERVICES:
        ended = subprocess.run(
            [python, "-m", f"services.{service}.worker"],
            cwd=app,
            env={**NO_ACCOUNT, "TIDEGATE_STACK": "!"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("TIDEGATE_STACK='!': "), ended.stderr
