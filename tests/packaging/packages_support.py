"""What tests of packages share: unpacking them, and importing them in an interpreter that sees nothing else."""

import json
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from infra.packages.build import LAYER_ROOT, function_files
from infra.packages.declared import read_packages
from infra.packages.trimming import kept

PACKAGES = read_packages()
SERVICES = PACKAGES.code.services

NO_ACCOUNT = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}

IMPORT_ALL = """
import importlib, json, sys

sys.path[:0] = json.loads(sys.argv[1])
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
ours = {"services", "contracts"}
files = {name: m.__file__ for name, m in sys.modules.items() if name.split(".")[0] in ours and m.__file__}
print(json.dumps({"files": files, "foreign": sorted({name.split(".")[0] for name in sys.modules})}))
"""

USES = {
    "powertools": """
import json
from aws_lambda_powertools.metrics import EphemeralMetrics
from pydantic import BaseModel, TypeAdapter
assert TypeAdapter(list[int]).validate_json("[1]") == [1]
EphemeralMetrics(namespace="n", service="s").add_metric(name="rows", unit="Count", value=1)
""",
    "aws_sdk": """
import asyncio
from services.runtime.aws.clients import SERVICES, Clients

async def open_all():
    async with Clients() as clients:
        assert all(hasattr(clients, name) for name in SERVICES)
        await clients.s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})

asyncio.run(open_all())
""",
    "data_arrow": """
import io
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
file = io.BytesIO()
pq.write_table(pa.table({"a": [1, 2], "d": pa.array([None, "x"])}), file, compression="zstd")
assert pc.sum(pq.read_table(file, filters=[("a", ">", 1)])["a"]).as_py() == 2
""",
    "data_polars": """
import io
import polars as pl
from isal import igzip
file = io.BytesIO()
pl.DataFrame({"a": [1, 2]}).lazy().filter(pl.col("a") > 1).collect().write_parquet(file)
assert pl.read_parquet(file)["a"].to_list() == [2]
assert igzip.decompress(igzip.compress(b"row")) == b"row"
""",
    "postgres": """
import asyncio, asyncpg
try:
    asyncio.run(asyncpg.connect("postgresql://u@127.0.0.1:1/d", timeout=5))
except OSError:
    pass
else:
    raise AssertionError("nobody listens there")
""",
    "sources": """
from adbc_driver_manager import OperationalError
from adbc_driver_postgresql import dbapi
from isal import isal_zlib
assert isal_zlib.crc32(b"") == 0
try:
    dbapi.connect("postgresql://127.0.0.1:1/d")
except OperationalError:
    pass
else:
    raise AssertionError("nobody listens there")
""",
    "snowflake": "import snowflake.connector, snowflake.connector.nanoarrow_arrow_iterator",
}
"""A little work for each layer, such as needs its libraries' files and not just their names."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A function and layers on disk; ``layers`` are the folders that Lambda's Python would look in."""

    function: Path
    layers: tuple[Path, ...]

    def modules(self) -> list[str]:
        """Every module of the function, by dotted name."""
        files = sorted(file.relative_to(self.function).with_suffix("") for file in self.function.rglob("*.py"))
        return [".".join(each.parts[:-1] if each.name == "__init__" else each.parts) for each in files]

    def import_all(self, python: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Import each module in a clean interpreter, by its command."""
        return self.run(python, IMPORT_ALL, json.dumps(self.modules()))

    def use(self, python: Sequence[str], code: str) -> subprocess.CompletedProcess[str]:
        """Run code that sees the function and its layers."""
        return self.run(python, f"import json, sys\nsys.path[:0] = json.loads(sys.argv[1])\n{code}")

    def run(self, python: Sequence[str], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run code without site, user site, current folder or environment, as far as Python goes."""
        paths = json.dumps([str(self.function), *map(str, self.layers)])
        return subprocess.run(
            [*python, "-I", "-S", "-B", "-c", code, paths, *arguments],
            cwd="/",
            env=NO_ACCOUNT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def linked(folder: Path, service: str, layers: Iterable[str]) -> Unpacked:
    """A function and layers made of links to this checkout and to the libraries of this environment.

    What a layer leaves out is left out here too, so what the links lack its zip lacks. What the folder has already, it
    keeps.
    """
    function = folder / service
    if not function.exists():
        for name, file in function_files(service, PACKAGES.code).items():
            _link(function / name, file)
    return Unpacked(function, tuple(_linked_layer(folder, name) for name in layers))


def _linked_layer(folder: Path, name: str) -> Path:
    root = folder / "layers" / name / LAYER_ROOT
    layer = PACKAGES.layers[name]
    for each in () if root.exists() else layer.distributions:
        found = distribution(each)
        files = [str(file) for file in found.files or () if ".." not in file.parts]
        compiled = [file for file in files if file.endswith(".pyc")]  # of no use without a source, and faster with one
        for file in kept(files, layer) + compiled:
            _link(root / file, Path(str(found.locate_file(file))))
    return root


def _link(link: Path, file: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(file)


def unpack(path: Path, folder: Path) -> Path:
    """Unzip an archive that a build made."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder
