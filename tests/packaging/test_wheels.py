"""Wheels come once, are those that the pins name, and make the same layer every time."""

import os
from pathlib import Path

import pytest

from infra.packages.build import Places, build_layer
from infra.packages.declared import PROJECT, Packages, PackagingError
from infra.packages.pins import Pin, pins_of, read_pins
from infra.packages.wheels import Target, fetch
from tests.packaging.packages_support import PACKAGES, unpack

LAMBDA = Target(PACKAGES.python, PACKAGES.architecture, PACKAGES.glibc)
SMALL = PACKAGES.model_validate(
    {
        **PACKAGES.model_dump(),
        "layers": {**PACKAGES.model_dump()["layers"], "small": {"distributions": ("six", "isal")}},
    }
)
"""With a layer of half a megabyte, one distribution of which is compiled."""
OUT_OF_REACH = ("Could not find a version", "No matching distribution", "Connection", "Max retries", "timed out")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of the small layer."""
    folder = tmp_path_factory.mktemp("wheels")
    layer = SMALL.layers["small"]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PIP_RETRIES", "1")  # whoever is off line should not wait for long
            fetch(pins_of(layer.distributions, PROJECT / layer.pins), LAMBDA, folder / LAMBDA.name)
    except PackagingError as error:
        if any(sign in str(error) for sign in OUT_OF_REACH):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    return folder


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip finds nothing but what is on disk."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def small(packages: Packages, output: Path, wheels: Path) -> bytes:
    """The small layer, as bytes."""
    return build_layer("small", packages, LAMBDA, Places(output, wheels)).path.read_bytes()


@pytest.mark.usefixtures("unreachable")
def test_a_layer_is_the_same_wherever_it_is_built(wheels: Path, tmp_path: Path) -> None:
    """Once more in another folder, with the wheels at hand and no network."""
    assert small(SMALL, tmp_path / "here", wheels) == small(SMALL, tmp_path / "there", wheels)


@pytest.mark.usefixtures("unreachable")
def test_a_layer_has_libraries_and_licences_and_no_waste(wheels: Path, tmp_path: Path) -> None:
    """Below the folder that Lambda's Python looks in; built for Lambda, whatever this machine is."""
    archive = build_layer("small", SMALL, LAMBDA, Places(tmp_path, wheels))
    folder = unpack(archive.path, tmp_path / "unpacked")
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {name.split("/")[0] for name in names} == {"python"}
    assert {"python/six.py", "python/isal/igzip.py"} <= names
    assert any(name.endswith("cpython-312-x86_64-linux-gnu.so") for name in names)
    assert any("dist-info/licenses/" in name or "dist-info/LICENSE" in name for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".pyi", "/RECORD", "/INSTALLER")) or "/bin/" in name]


@pytest.mark.usefixtures("unreachable")
def test_a_layer_that_is_there_is_not_built_again(wheels: Path, tmp_path: Path) -> None:
    """Neither pip nor a wheel is needed; a zip that is damaged, or made of something else, is built again."""
    first = small(SMALL, tmp_path, wheels)
    path = Places(tmp_path, wheels).layer("small")
    moment = path.stat().st_mtime_ns
    assert small(SMALL, tmp_path, tmp_path / "no wheels") == first
    assert path.stat().st_mtime_ns == moment
    path.write_bytes(first[: len(first) // 2])
    assert small(SMALL, tmp_path, wheels) == first
    dumped = SMALL.model_dump()
    dumped["layers"]["small"]["without"] = ("isal/*",)
    less = small(SMALL.model_validate(dumped), tmp_path, wheels)
    assert len(less) < len(first)


@pytest.mark.usefixtures("unreachable")
def test_wheels_that_are_there_are_not_fetched_again(wheels: Path) -> None:
    """They are told by their names and hashes."""
    assert fetch(pins_of(["six", "isal"], PROJECT / "requirements/runtime.txt"), LAMBDA, wheels / LAMBDA.name) == []


@pytest.mark.usefixtures("unreachable")
def test_a_damaged_wheel_is_never_packaged(wheels: Path, tmp_path: Path) -> None:
    """It is thrown away; without a network to get it anew the build stops with one line that names it."""
    copies = tmp_path / LAMBDA.name
    copies.mkdir()
    for wheel in (wheels / LAMBDA.name).iterdir():
        (copies / wheel.name).write_bytes(wheel.read_bytes().replace(b"PK", b"KP", 1))
    with pytest.raises(PackagingError, match=r"^not fetched for python3.12-x86_64: isal .*, six .*: ") as raised:
        build_layer("small", SMALL, LAMBDA, Places(tmp_path / "out", tmp_path))
    assert "\n" not in str(raised.value)
    assert list(copies.iterdir()) == []


def test_pins_have_versions_and_hashes() -> None:
    """As the requirements file has them, by normalised name."""
    pins = read_pins(PROJECT / "requirements/runtime.txt")
    assert pins["adbc-driver-postgresql"].version
    assert all(pin.hashes for pin in pins.values())


@pytest.mark.parametrize(
    ("text", "says"), [("six==1.0\n", "six has no hash"), ("", "no pin for six"), (None, "No such file")]
)
def test_what_is_not_pinned_is_not_packaged(text: str | None, says: str, tmp_path: Path) -> None:
    """Neither without a hash nor without a version."""
    file = tmp_path / "requirements.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PackagingError, match=says):
        pins_of(["six"], file)


def test_a_requirement_names_every_hash() -> None:
    """Pip may take any file of a version."""
    pin = Pin("six", "1.17.0", frozenset({"b" * 64, "a" * 64}))
    assert pin.requirement() == f"six==1.17.0 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}"


def test_a_target_is_a_runtime_of_lambda_or_this_machine() -> None:
    """Other architectures, and a native build for another Python, are refused."""
    with pytest.raises(PackagingError, match="no such architecture: mips"):
        Target("3.12", "mips", "2.28")
    with pytest.raises(PackagingError, match=r"not for 2\.7"):
        Target("2.7", "native", "2.28")
    assert "--platform=manylinux_2_28_aarch64" in Target("3.12", "arm64", "2.28").options()
