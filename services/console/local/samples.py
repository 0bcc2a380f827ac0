"""The sample servers of a stack, in the order that everybody needs: before the services, and until they have ended."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from services.console.local import shop, socrata
from services.console.local.credentials import Credentials
from services.console.local.processes import tags
from services.console.local.shop import COMMERCE, POSTGRES, Filling
from services.console.local.socrata import SOCRATA
from services.console.local.state import DataDir, ShopPorts
from services.console.local.vault import publish
from services.console.local.worker import Worker
from services.runtime.aws.clients import Clients

SAMPLES = frozenset({SOCRATA, POSTGRES, COMMERCE})
"""Names of their processes."""

Start = Callable[[str, Sequence[str], Mapping[str, str]], Worker]
"""Starts a supervised process: its name, its command, its environment."""


class Samples:
    """Starts what its ports name; None leaves a server out."""

    def __init__(self, home: DataDir, socrata_port: int | None, shop_ports: ShopPorts | None) -> None:
        self._home = home
        self._socrata_port = socrata_port
        self._shop_ports = shop_ports
        self._portal: Worker | None = None
        self._fillings: list[Filling] = []
        self._credentials: Credentials | None = None

    def start(self, start: Start, environ: Mapping[str, str], python: Path) -> None:
        """Start them, and fill them while the emulator is being set up; ``python`` has PostgreSQL's binaries."""
        folder = self._home.path
        if self._socrata_port is not None:
            arguments = socrata.command(folder, self._socrata_port, datetime.now().astimezone())
            self._portal = start(SOCRATA, arguments, environ)
        if self._shop_ports is not None:
            ports, credentials = self._shop_ports, Credentials.of(folder)
            start(POSTGRES, shop.postgres_command(folder, ports.postgres, python, credentials), environ)
            start(COMMERCE, shop.commerce_command(folder, ports.commerce, credentials), environ)
            self._credentials = credentials
            for name, command in shop.filling_commands(ports, credentials).items():
                tagged = {**environ, **tags(folder, name)}
                self._fillings.append(Filling(name, command, tagged, self._home.log(name)))

    async def publish(self, clients: Clients) -> None:
        """Put what the services connect with into Secrets Manager."""
        if self._credentials is not None and self._shop_ports is not None:
            await publish(clients, self._credentials.documents(self._shop_ports.postgres))

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until all of them answer and are filled.

        Raises:
            TidegateError: one of them does not start.
        """
        portal = self._portal
        if portal is not None and self._socrata_port is not None:
            socrata.wait_ready(self._socrata_port, self._home.log(SOCRATA), lambda: portal.is_alive)
        for filling in self._fillings:
            filling.wait(stopped)

    def abandon(self) -> None:
        """Stop filling them, if that is still under way."""
        for filling in self._fillings:
            filling.end()
