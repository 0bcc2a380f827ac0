"""The pinned version of a distribution and the hashes of its files, from a requirements file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.packages.declared import PackagingError

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of one distribution; ``hashes`` are the SHA-256 of its files, in hexadecimal."""

    name: str
    version: str
    hashes: frozenset[str]

    def requirement(self) -> str:
        """The line of a requirements file that allows exactly this."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in sorted(self.hashes))])


def normalised(name: str) -> str:
    """The one spelling of a distribution's name, as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, Pin]:
    """Every pin of a requirements file, by normalised name.

    Raises:
        PackagingError: the file cannot be read, or has a pin without a hash.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PackagingError(f"{path}: {error}") from error
    pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        if found := _PIN.match(line):
            pin = Pin(normalised(found["name"]), found["version"], frozenset(_HASH.findall(line)))
            if not pin.hashes:
                raise PackagingError(f"{path}: {pin.name} has no hash")
            pins[pin.name] = pin
    return pins


def pins_of(distributions: Iterable[str], path: Path) -> list[Pin]:
    """The pins of some distributions, in alphabetical order.

    Raises:
        PackagingError: see ``read_pins``, or one of them is not pinned.
    """
    pins = read_pins(path)
    wanted = sorted(normalised(name) for name in distributions)
    if unpinned := [name for name in wanted if name not in pins]:
        raise PackagingError(f"{path}: no pin for {', '.join(unpinned)}")
    return [pins[name] for name in wanted]
