"""Wheels for a Lambda runtime, on whatever machine this is: fetched once, checked by their hashes, installed by pip."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.packages.declared import PackagingError
from infra.packages.pins import Pin, normalised

NATIVE = "native"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_OLDEST_GLIBC = 5
_OLD_NAMES = {"x86_64": ("manylinux1", "manylinux2010", "manylinux2014"), "aarch64": ("manylinux2014",)}


@dataclass(frozen=True, slots=True)
class Target:
    """What wheels are for: a version of Python, Lambda's name of an architecture, and the newest glibc.

    With the architecture ``native`` they are for the interpreter that runs this, wherever it runs: so a package can be
    tried out on a machine that is no Lambda.
    """

    python: str
    architecture: str
    glibc: str

    def __post_init__(self) -> None:
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if self.architecture == NATIVE and self.python != running:
            raise PackagingError(f"native packages are for the running Python {running}, not for {self.python}")
        if self.architecture != NATIVE and self.architecture not in _MACHINES:
            raise PackagingError(f"no such architecture: {self.architecture}; there are {', '.join(_MACHINES)}")

    @property
    def name(self) -> str:
        """A folder's name."""
        return f"python{self.python}-{self.architecture}"

    def options(self) -> list[str]:
        """How pip is told. Each platform is listed, because not every version of pip knows what a newer one implies."""
        if self.architecture == NATIVE:
            return []
        machine = _MACHINES[self.architecture]
        newest = int(self.glibc.partition(".")[2])
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
        platforms += [f"{name}_{machine}" for name in reversed(_OLD_NAMES[machine])]
        abis = (f"cp{self.python.replace('.', '')}", "abi3", "none")
        return [
            *(f"--platform={each}" for each in platforms),
            *(f"--abi={each}" for each in abis),
            f"--python-version={self.python}",
            "--implementation=cp",
        ]


def fetch(pins: Iterable[Pin], target: Target, folder: Path) -> list[Pin]:
    """Download the wheels that a folder lacks; a damaged one is fetched again.

    Returns:
        What had to be downloaded.

    Raises:
        PackagingError: pip could not get one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheels = {_identity(file): file for file in sorted(folder.glob("*.whl"))}
    missing = [pin for pin in pins if not _is_sound(wheels.get((pin.name, pin.version)), pin)]
    if missing:
        _pip(["download", f"--dest={folder}"], missing, target, "fetched")
    return missing


def install(pins: Sequence[Pin], target: Target, wheels: Path, into: Path) -> None:
    """Unpack wheels that ``fetch`` got; nothing else is asked.

    Raises:
        PackagingError: pip could not install one of them.
    """
    options = ["install", "--no-index", f"--find-links={wheels}", "--no-compile", f"--target={into}"]
    _pip(options, pins, target, "installed")


def _pip(command: list[str], pins: Sequence[Pin], target: Target, done: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("\n".join(pin.requirement() for pin in pins) + "\n", encoding="utf-8")
        ended = subprocess.run(  # noqa: S603 - pip itself, told only what the project declares
            [
                *_PIP,
                *command,
                "--require-hashes",
                "--no-deps",
                "--only-binary=:all:",
                *target.options(),
                f"--requirement={requirements}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR: ")] or [
            f"exit {ended.returncode}"
        ]
        what = ", ".join(f"{pin.name} {pin.version}" for pin in pins)
        raise PackagingError(f"not {done} for {target.name}: {what}: {said[0].removeprefix('ERROR: ')}")


def _identity(wheel: Path) -> tuple[str, str]:
    name, version, *_ = wheel.name.split("-")
    return normalised(name), version


def _is_sound(wheel: Path | None, pin: Pin) -> bool:
    if wheel is None:
        return False
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() in pin.hashes:
            return True
    wheel.unlink()
    return False
