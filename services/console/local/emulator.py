"""The AWS emulator (ministack) as a child process: S3, SQS, SNS, DynamoDB and Secrets Manager on one port."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from services.console.local.processes import EMULATOR, tags
from services.console.local.venv import ensure_installed
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError

HOST = "127.0.0.1"
START_DEADLINE_S = 10.0
STOP_GRACE_S = 10.0
_POLL_S = 0.05
_HEALTH_PATH = "/_ministack/health"
_CLEAN_MARKER = "clean-shutdown"
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""All the emulator inherits: an AWS_*, LocalStack or proxy setting of the operator must not reach it."""


def choose_port(port: int = 0) -> int:
    """A port that is free on the loopback interface: ``port`` itself, or any for 0.

    Raises:
        BadDeclarationError: the port is taken or not a port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the emulator's server does: a port whose last connections are only winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a port number"
            raise BadDeclarationError(f"port {port} cannot be used on {HOST}: {reason}; choose another") from error
        return int(probe.getsockname()[1])


@dataclass
class Emulator:
    """A running emulator and where its data lies."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    recovered: bool
    """The last one on this data directory was killed: only S3 survived, tables and queues are empty."""

    @property
    def endpoint(self) -> str:
        """What ``AWS_ENDPOINT_URL`` must be."""
        return f"http://{HOST}:{self.port}"

    @classmethod
    def start(
        cls,
        data_dir: Path,
        port: int = 0,
        *,
        python: Path | None = None,
        deadline_s: float = START_DEADLINE_S,
    ) -> "Emulator":
        """Start it and wait until it answers; port 0 picks a free one.

        After an unclean end the snapshot of tables and queues is older than the objects (or there is none),
        so it is dropped: a command that was carried out since then must not come back out of an old queue.

        Raises:
            BadDeclarationError: the port is taken; nothing was started.
            PermanentError: it exited at once; the text ends with its last log line.
            TemporaryError: it does not answer within ``deadline_s`` seconds; it was stopped again.
        """
        port = choose_port(port)
        interpreter = python or ensure_installed(_silent)
        recovered = _take_marker(data_dir)
        process = _spawn(interpreter, data_dir, port)
        emulator = cls(process, port, data_dir, recovered)
        try:
            emulator._wait(deadline_s)
        except BaseException:
            process.kill()
            process.wait()
            if not recovered:
                mark_clean(data_dir)  # it never served anybody: what was persisted before is still the truth
            raise
        return emulator

    def stop(self, grace_s: float = STOP_GRACE_S) -> bool:
        """Stop it with SIGTERM, so that it persists, and after ``grace_s`` seconds by force.

        True if it ended by itself, with everything persisted.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        clean = self.process.returncode == 0
        if clean:
            mark_clean(self.data_dir)
        return clean

    def _wait(self, deadline_s: float) -> None:
        log = log_path(self.data_dir)
        deadline = time.monotonic() + deadline_s
        while not is_healthy(self.port):
            if self.process.poll() is not None:
                raise PermanentError(f"the AWS emulator did not start: {last_line(log)}")
            if time.monotonic() > deadline:
                raise TemporaryError(f"the AWS emulator did not answer within {deadline_s:.0f} s; see {log}")
            time.sleep(_POLL_S)


def is_healthy(port: int) -> bool:
    """Whether an emulator answers on this port."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", _HEALTH_PATH)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def log_path(data_dir: Path) -> Path:
    """Where the emulator logs to."""
    return data_dir / "logs" / "emulator.log"


def mark_clean(data_dir: Path) -> None:
    """Record that the emulator ended after SIGTERM, with everything persisted."""
    (data_dir / "emulator" / _CLEAN_MARKER).touch()


def last_line(log: Path) -> str:
    """The last line of a log that says anything."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"it left nothing in {log}"


def _take_marker(data_dir: Path) -> bool:
    home = data_dir / "emulator"
    marker = home / _CLEAN_MARKER
    unclean = home.is_dir() and any(home.iterdir()) and not marker.exists()
    if unclean:
        shutil.rmtree(home / "state", ignore_errors=True)
    marker.unlink(missing_ok=True)
    return unclean


def _spawn(python: Path, data_dir: Path, port: int) -> subprocess.Popen[bytes]:
    home = data_dir.absolute() / "emulator"
    for folder in (home / "s3", home / "state", home / "tmp", log_path(data_dir).parent):
        folder.mkdir(parents=True, exist_ok=True)
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ |= tags(data_dir, EMULATOR)
    environ |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "S3_DATA_DIR": str(home / "s3"),
        "STATE_DIR": str(home / "state"),
        "TMPDIR": str(home / "tmp"),
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "LOG_LEVEL": "WARNING",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",  # it would look for containers of its own to remove
        "PYTHONUNBUFFERED": "1",
    }
    with log_path(data_dir).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [str(python), "-m", "ministack"],
            env=environ,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to the supervisor alone, which stops the workers first
        )


def _silent(_: str) -> None:
    """Nobody watches the installation."""
