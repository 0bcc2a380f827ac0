"""The sample shop beside the emulator: its PostgreSQL server and its commerce API, each a process of the stack.

What they hold is made at the first start, by ``python -m services.console.demo.shop``, while the emulator is being set
up; beside the shop the server has the home-care visits of the conflict report, from
``services.console.demo.home_care_database``. Later starts serve what is there.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.console.local.credentials import Credentials
from services.console.local.emulator import HOST, last_line
from services.console.local.state import ShopPorts
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.settings import PROJECT

POSTGRES = "postgres"
COMMERCE = "commerce"
"""Names of the processes."""

POSTGRES_SERVER = PROJECT / "localstack" / "postgres" / "server.py"
COMMERCE_SERVER = PROJECT / "localstack" / "commerce" / "server.py"
FILLING = "shop"
HOME_CARE_FILLING = "home-care"
"""Names of the logs of what fills them."""
READY_DEADLINE_S = 45.0
_POLL_S = 0.05
_CLUSTER_PREFIX = "postgres-data-"


def postgres_command(folder: Path, port: int, python: Path, credentials: Credentials) -> Sequence[str]:
    """How the database server of a data directory is started; ``python`` has PostgreSQL's binaries."""
    return (
        *(str(python), str(POSTGRES_SERVER), "--data", str(cluster(folder)), "--port", str(port)),
        *("--password-file", str(credentials.owner)),
    )


def commerce_command(folder: Path, port: int, credentials: Credentials) -> Sequence[str]:
    """How the API of a data directory is started."""
    return (
        *(sys.executable, str(COMMERCE_SERVER), "--host", HOST, "--port", str(port)),
        *("--key-file", str(credentials.api_key), "--state", str(folder / "commerce.jsonl")),
    )


def cluster(folder: Path) -> Path:
    """Where the database's files lie, or a link to them."""
    return folder / "postgres" / "cluster"


def discard(folder: Path) -> None:
    """Remove database files that lie outside of a data directory, because the server's user could not go into it."""
    link = cluster(folder)
    if not link.is_symlink():
        return
    home = link.readlink().parent
    if home.parent == Path(tempfile.gettempdir()) and home.name.startswith(_CLUSTER_PREFIX):
        shutil.rmtree(home, ignore_errors=True)


def filling_commands(ports: ShopPorts, credentials: Credentials) -> Mapping[str, Sequence[str]]:
    """What makes the rows of each database where they are missing, by the name of its log."""
    server = ("--host", HOST, "--port", str(ports.postgres), "--owner-file", str(credentials.owner))
    module = (sys.executable, "-m")
    return {
        FILLING: (
            *(*module, "services.console.demo.shop", *server, "--ingest-file", str(credentials.ingest)),
            *("--api", f"http://{HOST}:{ports.commerce}"),
        ),
        HOME_CARE_FILLING: (
            *(*module, "services.console.demo.home_care_database", *server),
            *("--chunks-file", str(credentials.chunks)),
        ),
    }


class Filling:
    """Makes rows where they are missing, in a process of its own; ``what`` names them for people."""

    def __init__(self, what: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._what = what
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own module and arguments
                command, cwd=PROJECT, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait(self, stopped: Callable[[], bool], deadline_s: float = READY_DEADLINE_S) -> None:
        """Wait until everything is there, or the stack is told to stop.

        Raises:
            PermanentError: it cannot be made; the text ends with the last line of the log.
            TemporaryError: it is not there after ``deadline_s`` seconds.
        """
        deadline = time.monotonic() + deadline_s
        while self._process.poll() is None:
            if stopped():
                self.end()
                return
            if time.monotonic() > deadline:
                self.end()
                raise TemporaryError(
                    f"the sample database {self._what!r} was not ready after {deadline_s:.0f} s; see {self._log}"
                )
            time.sleep(_POLL_S)
        if self._process.returncode:
            raise PermanentError(f"the sample database {self._what!r} cannot be made: {last_line(self._log)}")

    def end(self) -> None:
        """Stop it, if it still runs; what is half made is made again at the next start."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
