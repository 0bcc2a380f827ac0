"""What a data directory holds: our marker, the lock, the state file and what is still to be recovered."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from services.console.local.credentials import CHUNKS, DATABASE, HOME_CARE, INGEST
from services.console.local.emulator import HOST
from services.console.local.processes import ProcessRecord
from services.runtime.failures import BadDeclarationError, TidegateError
from services.runtime.settings import PROJECT

DEFAULT_DATA_DIR = PROJECT / ".tidegate"
ACCOUNT = "000000000000"
REGION = "us-east-1"
STATE_VERSION = 1
Phase = Literal["starting", "running", "stopping", "stopped"]
_MARKER = ".tidegate-stack"


class AlreadyRunningError(TidegateError):
    """Another supervisor owns the data directory."""


class ShopPorts(BaseModel):
    """Of the sample shop's servers."""

    model_config = ConfigDict(frozen=True)

    postgres: int
    commerce: int


class StackState(BaseModel):
    """The stack as its supervisor last wrote it down."""

    model_config = ConfigDict(frozen=True)

    version: int = STATE_VERSION
    phase: Phase
    stack: str
    port: int
    socrata_port: int | None = None
    """Of the sample Socrata server; None where none runs."""
    shop_ports: ShopPorts | None = None
    """Of the sample shop; None where none runs."""
    detached: bool
    started_at: datetime
    supervisor: ProcessRecord
    processes: list[ProcessRecord] = []
    failure: str | None = None
    """Why it stopped by itself."""

    @property
    def endpoint(self) -> str:
        """What ``AWS_ENDPOINT_URL`` must be."""
        return f"http://{HOST}:{self.port}"

    @property
    def socrata(self) -> str | None:
        """What ``SOCRATA_DOMAIN_URL`` must be; None where no sample server runs."""
        return None if self.socrata_port is None else f"http://{HOST}:{self.socrata_port}"

    @property
    def payments_api(self) -> str | None:
        """What ``PAYMENTS_API_URL`` must be; None where no sample shop runs."""
        return None if self.shop_ports is None else f"http://{HOST}:{self.shop_ports.commerce}"

    @property
    def database(self) -> str | None:
        """How the services connect to the sample shop's database, without the password; None where none runs."""
        return self._place(INGEST, DATABASE)

    @property
    def home_care(self) -> str | None:
        """The same of the conflict report's database."""
        return self._place(CHUNKS, HOME_CARE)

    def _place(self, role: str, database: str) -> str | None:
        return None if self.shop_ports is None else f"postgresql://{role}@{HOST}:{self.shop_ports.postgres}/{database}"


def exports(state: StackState) -> dict[str, str]:
    """The environment that points any AWS client, every service and ``tidegate`` command at this stack."""
    return {
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,  # the emulator's default account, which `awslocal` uses as well
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "TIDEGATE_STACK": state.stack,
        **({} if state.socrata is None else {"SOCRATA_DOMAIN_URL": state.socrata}),
        **({} if state.payments_api is None else {"PAYMENTS_API_URL": state.payments_api}),
    }


class DataDir:
    """A stack's data directory. Paths are absolute, so that processes started elsewhere agree on them."""

    def __init__(self, path: Path = DEFAULT_DATA_DIR) -> None:
        self.path = path.resolve()

    @property
    def is_ours(self) -> bool:
        """Whether it carries our marker."""
        return (self.path / _MARKER).is_file()

    def prepare(self) -> None:
        """Create it and mark it as ours.

        Raises:
            BadDeclarationError: it holds something else already, or cannot be created.
        """
        if self.is_ours:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Another one may have marked it since it was looked at: the marker comes before everything else.
            if any(self.path.iterdir()) and not self.is_ours:
                raise BadDeclarationError(f"{self.path} holds files that are not a local stack's; choose another")
            (self.path / _MARKER).write_text("The data of a local Tidegate stack.\n", encoding="utf-8")
        except OSError as error:
            raise BadDeclarationError(f"{self.path}: {error.strerror}") from error

    def log(self, name: str) -> Path:
        """Where a process logs to."""
        return self.path / "logs" / f"{name}.log"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the directory for a block; the system gives the lock back however the process ends.

        Raises:
            AlreadyRunningError: another process owns it.
        """
        descriptor = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AlreadyRunningError(f"{self.path} is in use by another supervisor") from error
            yield
        finally:
            os.close(descriptor)

    def load(self) -> StackState | None:
        """The state as last written; None if there is none.

        Raises:
            BadDeclarationError: the file is not one that this version reads.
        """
        try:
            state = StackState.model_validate_json((self.path / "stack.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise BadDeclarationError(f"{self.path / 'stack.json'} is unreadable; remove it") from error
        if state.version > STATE_VERSION:
            raise BadDeclarationError(f"{self.path} was written by a newer version of Tidegate")
        return state

    def save(self, state: StackState) -> None:
        """Replace the state file in one step: a reader sees the old one or the new one."""
        draft = self.path / f"stack.json.{os.getpid()}"
        draft.write_text(state.model_dump_json(indent=2), encoding="utf-8")
        draft.replace(self.path / "stack.json")

    @property
    def recovery_pending(self) -> bool:
        """The emulator was killed at some time and nobody has dispatched a recovery scan since."""
        return (self.path / "recovery-pending").exists()

    def request_recovery(self) -> None:
        """Remember across restarts that tables and queues were lost."""
        (self.path / "recovery-pending").touch()

    def acknowledge_recovery(self) -> None:
        """The recovery scan is in the planner's queue."""
        (self.path / "recovery-pending").unlink(missing_ok=True)
