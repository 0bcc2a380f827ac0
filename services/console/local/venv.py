"""The emulator's own virtual environment: its pins and ours do not resolve together."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from services.runtime.failures import BadDeclarationError, PermanentError, UnreachableError
from services.runtime.settings import PROJECT

Progress = Callable[[str], None]
"""Receives one line for the operator at each step."""

INTERPRETER_VARIABLE = "TIDEGATE_EMULATOR_PYTHON"
VENV = PROJECT / ".venv-emulator"
REQUIREMENTS = PROJECT / "requirements" / "emulator.txt"
STAMP = "requirements.sha256"
_NETWORK_SIGNS = (
    "connection",
    "timed out",
    "timeout",
    "name resolution",
    "unreachable",
    "could not find a version",
)


def ensure_installed(
    progress: Progress,
    *,
    environ: Mapping[str, str] | None = None,
    venv: Path = VENV,
    requirements: Path = REQUIREMENTS,
) -> Path:
    """The interpreter that runs the emulator, installing it first where it is missing or out of date.

    ``TIDEGATE_EMULATOR_PYTHON`` names an interpreter to use as it is. Two processes may call this at once:
    one installs, the other waits. An interrupted installation is done again: its stamp is written last.

    Raises:
        BadDeclarationError: the named interpreter or the requirements file is not there.
        UnreachableError: the package registry does not answer.
        PermanentError: the installation failed for another reason; the text is pip's.
    """
    override = (os.environ if environ is None else environ).get(INTERPRETER_VARIABLE)
    if override:
        if not os.access(override, os.X_OK):
            raise BadDeclarationError(f"{INTERPRETER_VARIABLE}={override}: not an executable file")
        return Path(override).absolute()
    digest = _digest(requirements)
    python = venv / "bin" / "python"
    if _is_current(venv, digest):
        return python
    venv.mkdir(parents=True, exist_ok=True)
    with _locked(venv):
        if not _is_current(venv, digest):
            progress(f"installing the AWS emulator into {venv.name} (once)")
            _install(venv, python, requirements)
            (venv / STAMP).write_text(digest, encoding="ascii")
    return python


def _digest(requirements: Path) -> str:
    try:
        return sha256(requirements.read_bytes()).hexdigest()
    except OSError as error:
        raise BadDeclarationError(f"{requirements}: {error.strerror}") from error


def _is_current(venv: Path, digest: str) -> bool:
    stamp = venv / STAMP
    return (venv / "bin" / "python").exists() and stamp.is_file() and stamp.read_text(encoding="ascii") == digest


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock is on the folder itself: ``venv --clear`` empties it but keeps it, so no lock file can vanish.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(venv: Path, python: Path, requirements: Path) -> None:
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    _run([
        str(python), "-m", "pip", "install", "--require-hashes", "--no-input", "--quiet", "--retries", "2",
        "--disable-pip-version-check", "--requirement", str(requirements),
    ])  # fmt: skip


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode == 0:
        return
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    if any(sign in "\n".join(lines).lower() for sign in _NETWORK_SIGNS):
        raise UnreachableError(f"cannot install the emulator, no answer from the package registry: {reason}")
    raise PermanentError(f"cannot install the emulator: {reason}")
