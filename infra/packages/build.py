"""Building the zip of a function and of a layer."""

import hashlib
import json
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.packages.archives import Archive, read_archive, write_archive
from infra.packages.declared import PROJECT, Code, Layer, Packages
from infra.packages.modules import reach
from infra.packages.pins import Pin, pins_of
from infra.packages.trimming import NOWHERE, kept
from infra.packages.wheels import Target, fetch, install

LAYER_ROOT = "python"
"""Where Lambda's Python looks in a layer, whatever its version."""
_RECIPE = 1
"""To be raised when layers are built in another way from the same inputs."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where zips go, and where wheels are kept between builds."""

    output: Path
    wheels: Path

    def function(self, name: str) -> Path:
        """The zip of a function."""
        return self.output / f"{name}.zip"

    def layer(self, name: str) -> Path:
        """The zip of a layer."""
        return self.output / "layers" / f"{name}.zip"


def build_function(service: str, code: Code, places: Places, root: Path = PROJECT) -> Archive:
    """Zip what a service reaches of the project.

    Raises:
        PackagingError: see ``reach``.
    """
    return write_archive(places.function(service), function_files(service, code, root))


def function_files(service: str, code: Code, root: Path = PROJECT) -> dict[str, Path]:
    """The files of a function by their names in its zip: modules, the data of their packages, whole folders."""
    reached = reach(service, root)
    files = set(reached.modules.values())
    data = _package_data(root)
    for package in reached.packages():
        folder = root.joinpath(*package.split("."))
        files |= {file for pattern in data.get(package, ()) for file in folder.glob(pattern)}
    for whole in code.whole:
        files |= {file for file in (root / whole).rglob("*") if file.is_file() and not _is_by_product(file, root)}
    named = {file.relative_to(root).as_posix(): file for file in files}
    return {name: file for name, file in named.items() if not name.startswith(code.without)}


def _package_data(root: Path) -> Mapping[str, Iterable[str]]:
    """What the project declares for its own wheel holds for functions too."""
    document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    data: Mapping[str, Iterable[str]] = document["tool"]["setuptools"]["package-data"]
    return data


def _is_by_product(file: Path, root: Path) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in file.relative_to(root).parts)


def build_layer(name: str, packages: Packages, target: Target, places: Places, root: Path = PROJECT) -> Archive:
    """Zip the distributions of a layer, unless the zip that is there was made of the same.

    Raises:
        PackagingError: a distribution is not pinned, or pip cannot get it.
    """
    layer = packages.layers[name]
    pins = pins_of(layer.distributions, root / layer.pins)
    inputs = _inputs(layer, pins, target)
    path = places.layer(name)
    if (there := _made_of(path, inputs)) is not None:
        return there
    wheels = places.wheels / target.name
    fetch(pins, target, wheels)
    folder = Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
    try:
        install(pins, target, wheels, folder)
        installed = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        files = {f"{LAYER_ROOT}/{each}": folder / each for each in kept(installed, layer)}
        return write_archive(path, files, comment=inputs)
    finally:
        shutil.rmtree(folder)


def _inputs(layer: Layer, pins: Iterable[Pin], target: Target) -> str:
    """A digest of everything that decides what is in a layer."""
    told = [_RECIPE, target.name, target.options(), NOWHERE, layer.without, layer.keep]
    text = json.dumps([*told, [pin.requirement() for pin in pins]])
    return f"tidegate inputs sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _made_of(path: Path, inputs: str) -> Archive | None:
    try:
        there = read_archive(path)
    except (FileNotFoundError, zipfile.BadZipFile):
        return None
    return there if there.comment == inputs else None


@dataclass(frozen=True, slots=True)
class Built:
    """The zips of one build, by the names of functions and of layers."""

    functions: Mapping[str, Archive]
    layers: Mapping[str, Archive]


def build_all(packages: Packages, target: Target, places: Places, say: Callable[[str], None]) -> Built:
    """Build every function and every layer.

    Raises:
        PackagingError: see ``build_function`` and ``build_layer``.
    """
    functions = {name: build_function(name, packages.code, places) for name in packages.code.services}
    layers = {}
    for name in packages.layers:
        say(f"layer {name} for {target.name}")
        layers[name] = build_layer(name, packages, target, places)
    return Built(functions, layers)
