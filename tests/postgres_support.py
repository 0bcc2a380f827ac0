"""A PostgreSQL server for a session of tests, and a database of its own for each test."""

import asyncio
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from services.console.local.venv import ensure_installed
from services.runtime.settings import PROJECT

SERVER = PROJECT / "localstack" / "postgres" / "server.py"
HOST = "127.0.0.1"
USER = "postgres"
READY_S = 60.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """One test's own database."""

    server: "PostgresServer" = field(repr=False)
    name: str

    @property
    def secret(self) -> str:
        """What Secrets Manager would hold for it, as JSON."""
        return json.dumps(
            {
                "host": HOST,
                "port": self.server.port,
                "database": self.name,
                "username": USER,
                "password": self.server.password,
            }
        )

    async def connect(self, *, user: str = USER, password: str | None = None) -> "asyncpg.Connection[Any]":
        """A connection, as the superuser unless told otherwise."""
        return await asyncpg.connect(
            host=HOST, port=self.server.port, user=user, password=password or self.server.password, database=self.name
        )

    def run(self, *statements: str) -> None:
        """Execute statements as the superuser, each in a transaction of its own."""
        self.server.run(statements, database=self.name)


class PostgresServer:
    """A server on a free port; stopped and started again at will, with the same data."""

    def __init__(self, folder: Path, *, settings: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = environ
        self._settings = settings
        self.password = secrets.token_urlsafe(16)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        python = ensure_installed(lambda _: None)
        password_file = self._folder / "password"
        password_file.write_text(self.password, encoding="ascii")
        options = [part for setting in self._settings for part in ("--set", setting)]
        command = (
            *(str(python), str(SERVER), "--data", str(self._folder / "cluster"), "--port", str(self.port)),
            *("--password-file", str(password_file), *options),
        )
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + READY_S
        while True:
            assert self._process.poll() is None, (self._folder / "postgres.log").read_text()
            with suppress(OSError, asyncpg.PostgresError):
                self.run(["SELECT 1"])
                return
            assert time.monotonic() < deadline, "PostgreSQL did not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once; clients are cut off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(30) == 0, "PostgreSQL did not end cleanly"
            self._process = None

    def clear(self) -> None:
        """Remove the data of a server that has stopped, as a system does that clears its temporary files."""
        cluster = self._folder / "cluster"
        shutil.rmtree(cluster.resolve().parent if cluster.is_symlink() else cluster)

    def remove(self) -> None:
        """Remove the data of a server that has stopped, also where it had to lie elsewhere (localstack/postgres)."""
        cluster = self._folder / "cluster"
        if cluster.is_symlink():
            shutil.rmtree(cluster.resolve().parent, ignore_errors=True)
            cluster.unlink()

    def new_database(self) -> Database:
        """A database that nobody else uses."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.run([f'CREATE DATABASE "{name}"'])
        return Database(self, name)

    def drop(self, database: Database) -> None:
        """Remove a database, whoever is still connected."""
        self.run([f'DROP DATABASE "{database.name}" WITH (FORCE)'])

    def run(self, statements: Sequence[str], *, database: str = USER) -> None:
        """Execute statements as the superuser, on a loop of its own."""

        async def execute() -> None:
            connection = await Database(self, database).connect()
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        # A thread, because the caller may be inside a running loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, execute()).result()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
