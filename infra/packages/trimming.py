"""Which files of an installed distribution a function needs."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from infra.packages.declared import Layer

NOWHERE = (
    "*/__pycache__/*",
    "*.pyc",
    "bin/*",  # commands, which name the interpreter that built them
    "*/tests/*",
    # What compilers and type checkers read.
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "*.pxi",
    "*.c",
    "*.h",
    "*.hpp",
    # How and by whom it was installed here; names, versions and licences stay.
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/sboms/*",
)
"""Patterns of what no layer has."""


def kept(files: Iterable[str], layer: Layer) -> list[str]:
    """Those of a distribution's files that the layer has; paths are relative to where it is installed, with slashes."""
    return [name for name in files if _is_kept(name, layer)]


def _is_kept(name: str, layer: Layer) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in NOWHERE):
        return False
    return any(fnmatchcase(name, each) for each in layer.keep) or not any(
        fnmatchcase(name, each) for each in layer.without
    )
