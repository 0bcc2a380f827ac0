"""Each service as it is deployed: alone, with the libraries of its package and no others.

A clean interpreter sees a copy of the service's own files and the installed libraries, of which those that its package
leaves out are made unimportable. Nothing of the checkout is on its path.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.runtime.settings import PROJECT

LEFT_OUT: Mapping[str, frozenset[str]] = {
    "planner": frozenset({"polars", "pyarrow", "duckdb", "adbc_driver_postgresql"}),
    "fetcher": frozenset({"polars", "duckdb", "asyncpg"}),
    "validator": frozenset({"pyarrow", "duckdb", "adbc_driver_postgresql", "asyncpg"}),
    "merger": frozenset({"polars", "duckdb", "adbc_driver_postgresql", "asyncpg"}),
    "chunk_worker": frozenset({"polars", "pyarrow", "duckdb", "adbc_driver_postgresql"}),
}
"""Libraries that a service's package does not have: large ones, which would not fit together, and other jobs'."""

NOWHERE = frozenset({"typer", "rich", "psutil", "localstack_client", "snowflake", "fakesnow", "pytest"})
"""Libraries of the console and of development; no service has them."""

PROBE = """
import importlib, json, sys

left_out = set(json.loads(sys.argv[2]))

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in left_out:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
handler = importlib.import_module(f"services.{sys.argv[1]}.handler").handler
worker = importlib.import_module(f"services.{sys.argv[1]}.worker")
own = {n: m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in {"services", "contracts"} and m.__file__}
print(json.dumps({"callable": callable(handler), "own": own, "all": sorted(sys.modules)}))
"""


@pytest.fixture(params=sorted(LEFT_OUT))
def service(request: pytest.FixtureRequest) -> str:
    """The name of a service."""
    return str(request.param)


@pytest.fixture
def package(service: str, tmp_path: Path) -> Path:
    """What belongs to one service, and nothing else of the project."""
    folder = tmp_path / "package"
    leave = shutil.ignore_patterns("__pycache__")
    for part in ("contracts", "services/runtime", f"services/{service}", "pipelines"):
        shutil.copytree(PROJECT / part, folder / part, ignore=leave)
    shutil.copy(PROJECT / "services" / "__init__.py", folder / "services")
    return folder


def probe(service: str, package: Path, left_out: frozenset[str]) -> subprocess.CompletedProcess[str]:
    """Import a service's shells in a clean interpreter.

    Without ``site`` the .pth files of the environment are not read, so an editable installation stays out of sight.
    There is no AWS setting, and no home in which one could be found.
    """
    return subprocess.run(
        [sys.executable, "-S", "-c", PROBE, service, json.dumps(sorted(left_out))],
        cwd=package.parent,
        env={"PYTHONPATH": f"{package}:{sysconfig.get_paths()['purelib']}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_service_imports_alone(service: str, package: Path) -> None:
    """From its own package only, without an AWS environment, and without the libraries that it must not have."""
    ended = probe(service, package, LEFT_OUT[service] | NOWHERE)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["callable"]
    assert [file for file in found["own"].values() if not file.startswith(str(package))] == []


def test_a_service_does_not_ask_for_more(service: str, package: Path) -> None:
    """Where the large libraries are installed they are not imported either: a cold start would pay for them."""
    ended = probe(service, package, frozenset())
    assert ended.returncode == 0, ended.stderr
    imported = {name.split(".")[0] for name in json.loads(ended.stdout)["all"]}
    tried = {"rich", "polars"}  # structlog and the ADBC driver look whether these are there
    assert imported & ((LEFT_OUT[service] | NOWHERE) - tried) == set()


def test_the_probe_notices_a_missing_library(package: Path, service: str) -> None:
    """What a service does need cannot be left out."""
    ended = probe(service, package, frozenset({"pydantic"}))
    assert ended.returncode == 1
    assert "No module named 'pydantic'" in ended.stderr
