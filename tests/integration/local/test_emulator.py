import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from services.console.local.emulator import Emulator, choose_port, is_healthy, log_path
from services.console.local.environment import pointed_at
from services.console.local.venv import STAMP, ensure_installed
from services.runtime.aws.clients import Clients
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError, TidegateError


def exports(emulator: Emulator) -> Mapping[str, str]:
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": "000000000042",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


async def leave_data(emulator: Emulator) -> None:
    """An object in two versions and a queue."""
    with pointed_at(exports(emulator)):
        async with Clients() as clients:
            await clients.s3.create_bucket(Bucket="kept")
            await clients.s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
            await clients.s3.put_object(Bucket="kept", Key="k", Body=b"1")
            await clients.s3.put_object(Bucket="kept", Key="k", Body=b"2")
            await clients.sqs.create_queue(QueueName="kept")


async def look(emulator: Emulator) -> tuple[bytes, int, int]:
    """Content of the object, number of its versions, number of queues."""
    with pointed_at(exports(emulator)):
        async with Clients() as clients:
            body = await (await clients.s3.get_object(Bucket="kept", Key="k"))["Body"].read()
            versions = (await clients.s3.list_object_versions(Bucket="kept"))["Versions"]
            return body, len(versions), len((await clients.sqs.list_queues()).get("QueueUrls", []))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


async def test_everything_survives_a_stop(tmp_path: Path) -> None:
    """SIGTERM persists; the next emulator on the directory has objects and queues, and reports no recovery."""
    first = Emulator.start(tmp_path)
    await leave_data(first)
    assert first.stop()
    assert not is_healthy(first.port)

    second = Emulator.start(tmp_path)
    try:
        assert not second.recovered
        assert await look(second) == (b"2", 2, 1)
    finally:
        second.stop()


async def test_a_kill_is_noticed_and_old_queues_do_not_come_back(tmp_path: Path) -> None:
    """After kill -9 the objects and their versions are there, the stale snapshot is dropped, and it is said."""
    first = Emulator.start(tmp_path)
    await leave_data(first)
    assert first.stop()
    second = Emulator.start(tmp_path)
    os.kill(second.process.pid, signal.SIGKILL)
    assert not second.stop()

    third = Emulator.start(tmp_path)
    try:
        assert third.recovered
        assert await look(third) == (b"2", 2, 0)
    finally:
        third.stop()


def test_a_taken_port_is_one_clear_error_and_nothing_starts(tmp_path: Path, taken: int) -> None:
    """The error names the port; no data directory is touched."""
    with pytest.raises(BadDeclarationError, match=f"port {taken} cannot be used"):
        Emulator.start(tmp_path, taken)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadDeclarationError, match="70000"):
        choose_port(70_000)


def test_only_loopback_answers(emulator: Emulator) -> None:
    """The emulator takes any credentials, so nobody on the network may reach it."""
    connections = psutil.Process(emulator.process.pid).net_connections()
    assert {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def fake_python(folder: Path, body: str) -> Path:
    """An interpreter that does what ``body`` says instead of running the emulator."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_an_early_exit_reports_the_last_log_line(tmp_path: Path) -> None:
    """The reason is in the error, and a failed start does not count as a crash of the data."""
    python = fake_python(tmp_path, "echo starting; echo 'no such module: ministack' >&2; exit 1")
    with pytest.raises(PermanentError, match="no such module: ministack"):
        Emulator.start(tmp_path / "data", python=python)
    assert "starting" in log_path(tmp_path / "data").read_text()

    started = Emulator.start(tmp_path / "data")
    assert not started.recovered
    started.stop()


def test_silence_until_the_deadline_is_an_error_and_leaves_no_process(tmp_path: Path) -> None:
    """An emulator that never answers is ended again."""
    pid_file = tmp_path / "pid"
    python = fake_python(tmp_path, f"echo $$ > {pid_file}; exec sleep 60")
    with pytest.raises(TemporaryError, match="did not answer within"):
        Emulator.start(tmp_path / "data", python=python, deadline_s=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_the_operators_aws_settings_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that inherits AWS_ENDPOINT_URL would call itself; nothing of AWS_* is passed on."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "production")
    python = fake_python(tmp_path, "env; exit 1")
    with pytest.raises(PermanentError):
        Emulator.start(tmp_path / "data", python=python)
    environment = log_path(tmp_path / "data").read_text()
    assert "S3_PERSIST=1" in environment
    assert "AWS_" not in environment


def test_the_interpreter_can_be_named(tmp_path: Path) -> None:
    """TIDEGATE_EMULATOR_PYTHON is used as it is; a wrong one is a clear error."""
    named = ensure_installed(pytest.fail, environ={"TIDEGATE_EMULATOR_PYTHON": sys.executable})
    assert named == Path(sys.executable)
    with pytest.raises(BadDeclarationError, match="not an executable"):
        ensure_installed(pytest.fail, environ={"TIDEGATE_EMULATOR_PYTHON": str(tmp_path) + "/no"})


def test_two_at_once_install_once_and_a_changed_file_installs_again(tmp_path: Path) -> None:
    """The lock lets one install; the stamp follows the requirements' digest."""
    requirements, venv = tmp_path / "requirements.txt", tmp_path / "venv"
    requirements.write_text("# nothing\n")
    said: list[str] = []

    def install() -> None:
        ensure_installed(said.append, environ={}, venv=venv, requirements=requirements)

    threads = [threading.Thread(target=install) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
    install()
    assert len(said) == 1
    requirements.write_text("# nothing yet\n")
    install()
    assert len(said) == 2


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a registry the error is one readable line, and nothing counts as installed."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    requirements, venv = tmp_path / "requirements.txt", tmp_path / "venv"
    requirements.write_text("ministack==1.5.33 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(TidegateError, match="no answer from the package registry") as caught:
        ensure_installed(lambda _: None, environ={}, venv=venv, requirements=requirements)
    assert "\n" not in str(caught.value)
    assert not (venv / STAMP).exists()
