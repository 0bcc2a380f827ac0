"""The layers of a service hold what its modules import, and nothing that none of them does."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement

from infra.packages.declared import PROJECT
from infra.packages.modules import reach
from infra.packages.pins import normalised
from tests.packaging.packages_support import PACKAGES, SERVICES

TARGET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": PACKAGES.architecture,
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PACKAGES.python}.0",
    "python_version": PACKAGES.python,
    "sys_platform": "linux",
}
EXCLUSIVE = {"polars", "pyarrow", "duckdb"}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    """The name of a service."""
    return str(request.param)


def held(layers: Iterable[str]) -> set[str]:
    """The distributions of some layers."""
    return {each for layer in layers for each in PACKAGES.layers[layer].distributions}


@cache
def providers() -> dict[str, str]:
    """The distribution that an importable name comes from."""
    return {name: normalised(found[0]) for name, found in packages_distributions().items()}


def needed(imported: Iterable[str]) -> set[str]:
    """The distributions of imported modules, with everything that these require on Lambda."""
    waiting = [(providers()[name.partition(".")[0]], "") for name in imported]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(TARGET | {"extra": extra}):
                waiting += [(normalised(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in seen}


def test_default_layers_are_exactly_what_a_service_imports(service: str) -> None:
    """Each distribution is there because a module imports it, or because one of those requires it."""
    assert held(PACKAGES.functions[service].layers) == needed(reach(service, PROJECT).foreign)


def test_optional_layers_are_exactly_what_a_service_imports_where_it_is_asked_to(service: str) -> None:
    """They hold what modules import by name, for declarations that need it, and default layers lack."""
    reached = reach(service, PROJECT)
    more = needed(reached.foreign | reached.asked_for) - needed(reached.foreign)
    assert held(PACKAGES.functions[service].optional) == more


def test_a_service_has_one_large_library_at_most(service: str) -> None:
    """Polars and PyArrow do not fit into one function."""
    function = PACKAGES.functions[service]
    assert len(held(function.layers + function.optional) & EXCLUSIVE) <= 1


def test_every_layer_is_attached_to_a_function() -> None:
    """Nobody builds a layer for nothing."""
    attached = {layer for function in PACKAGES.functions.values() for layer in function.layers + function.optional}
    assert attached == set(PACKAGES.layers)


def test_every_service_is_packaged() -> None:
    """Who adds a service to the code declares its function."""
    folders = {file.parent.name for file in (PROJECT / "services").glob("*/handler.py")}
    assert folders <= set(SERVICES)
