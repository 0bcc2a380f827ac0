"""What a build weighs, and whether Lambda takes it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from infra.packages.archives import Archive
from infra.packages.build import Built
from infra.packages.declared import Packages
from infra.packages.wheels import Target

MB = 1024 * 1024
UNZIPPED_LIMIT = 250 * MB
"""Bytes of a function with its layers, unzipped, as Lambda counts them."""
DIRECT_LIMIT = 50 * MB
"""Bytes of a zip that may be uploaded in the request itself; a larger one goes through S3."""


def weighed(packages: Packages, built: Built, target: Target) -> dict[str, Any]:
    """Everything there is to say about a build, as JSON: sizes in bytes, digests, which layers a function has."""
    functions = {}
    for name, archive in built.functions.items():
        declared = packages.functions[name]
        with_layers = archive.unzipped + _unzipped(built, declared.layers)
        functions[name] = _described(archive) | {
            "layers": list(declared.layers),
            "optional_layers": list(declared.optional),
            "unzipped_with_layers": with_layers,
            "unzipped_with_all_layers": with_layers + _unzipped(built, declared.optional),
        }
    return {
        "python": target.python,
        "architecture": target.architecture,
        "functions": functions,
        "layers": {name: _described(archive) for name, archive in built.layers.items()},
    }


def _unzipped(built: Built, layers: Iterable[str]) -> int:
    return sum(built.layers[layer].unzipped for layer in layers)


def _described(archive: Archive) -> dict[str, Any]:
    return {
        "zipped": archive.zipped,
        "unzipped": archive.unzipped,
        "sha256": archive.sha256,
        "through_s3": archive.zipped > DIRECT_LIMIT,
    }


def violations(weights: dict[str, Any]) -> list[str]:
    """One line for every function that Lambda would refuse, with its default layers or with all of them."""
    return [
        f"{name}: {_mb(function['unzipped_with_all_layers'])} MB unzipped with all its layers, "
        f"and Lambda takes {_mb(UNZIPPED_LIMIT)} MB"
        for name, function in weights["functions"].items()
        if function["unzipped_with_all_layers"] > UNZIPPED_LIMIT
    ]


def table(weights: dict[str, Any]) -> Iterator[str]:
    """The lines of a table for people; 1 MB is 1024 * 1024 bytes, as in Lambda's limits."""
    yield f"{'layer':<14}{'zipped MB':>10}{'unzipped':>10}  upload"
    for name, layer in weights["layers"].items():
        yield f"{name:<14}{_mb(layer['zipped']):>10}{_mb(layer['unzipped']):>10}  {_upload(layer)}"
    yield ""
    yield f"{'function':<14}{'zipped MB':>10}{'unzipped':>10}{'+ layers':>10}{'+ optional':>12}  layers (optional)"
    for name, function in weights["functions"].items():
        layers = function["layers"] + [f"({layer})" for layer in function["optional_layers"]]
        sizes = f"{_mb(function['zipped']):>10}{_mb(function['unzipped']):>10}"
        sizes += f"{_mb(function['unzipped_with_layers']):>10}{_mb(function['unzipped_with_all_layers']):>12}"
        yield f"{name:<14}{sizes}  {' '.join(layers)}"


def _upload(described: dict[str, Any]) -> str:
    return "through S3" if described["through_s3"] else "direct"


def _mb(size: int) -> str:
    return f"{size / MB:.1f}"


def write_sizes(path: Path, weights: dict[str, Any]) -> None:
    """Leave the weights beside the zips."""
    path.write_text(json.dumps(weights, indent=2) + "\n", encoding="utf-8")
