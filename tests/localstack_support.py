"""LocalStack 4.7, started from its own environment."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.console.local.emulator import Emulator, choose_port, last_line
from services.console.local.machines import DEFINITIONS
from services.console.local.provision import TOPOLOGY_FILE
from services.runtime.settings import PROJECT
from tests.emulator_support import new_stack

READY_D = PROJECT / "localstack" / "init" / "ready.d"
START_DEADLINE_S = 60


def localstack_python() -> Path:
    """The interpreter of LocalStack's environment; skips the test where there is none."""
    named = os.environ.get("TIDEGATE_LOCALSTACK_PYTHON")
    python = Path(named) if named else PROJECT / ".venv-localstack" / "bin" / "python"
    if not python.exists():
        pytest.skip("LocalStack is not installed: run `make test-localstack`, or set TIDEGATE_LOCALSTACK_PYTHON")
    return python


@contextmanager
def running_localstack(emulator: Emulator, home: Path) -> Iterator[Mapping[str, str]]:
    """LocalStack, provisioned by its own init hook, with tables in the emulator; the environment that points at it."""
    python = localstack_python()
    port, stack = choose_port(), new_stack(emulator)
    scripts = home / "etc" / "localstack" / "init" / "ready.d"
    scripts.mkdir(parents=True)
    shutil.copy(READY_D / "provision.py", scripts)
    exports = {
        "AWS_ACCESS_KEY_ID": stack.account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL_DYNAMODB": emulator.endpoint,
        "TIDEGATE_STACK": stack.name,
        "TIDEGATE_TOPOLOGY": str(TOPOLOGY_FILE),
        "TIDEGATE_STATE_MACHINES": str(DEFINITIONS),
    }
    log = home / "localstack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), str(python.parent / "localstack-supervisor")],
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
                **exports,
                "OVERRIDE_IN_DOCKER": "0",  # else, on a machine that is a container, the root would be /
                "FILESYSTEM_ROOT": str(home),
                "LOCALSTACK_VOLUME_DIR": str(home / "volume"),
                "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                "LOCALSTACK_HOST": f"127.0.0.1:{port}",
                "SKIP_SSL_CERT_DOWNLOAD": "1",
                "DISABLE_EVENTS": "1",
            },
            cwd=home,  # the project's folder `localstack` must not be on the import path
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await_ready(process, port, log)
        yield exports
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the init hook has ended; fail with LocalStack's last words."""
    deadline = time.monotonic() + START_DEADLINE_S
    scripts: list[dict[str, str]] = []
    while not scripts or scripts[0]["state"] in {"UNKNOWN", "RUNNING"}:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"LocalStack did not become ready: {last_line(log)}")
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_localstack/init/ready", timeout=2) as answer:
                scripts = json.load(answer)["scripts"]
        except OSError:
            continue  # it does not listen yet
    assert [script["state"] for script in scripts] == ["SUCCESSFUL"], log.read_text()
