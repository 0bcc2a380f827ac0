"""The stack as a whole, with real processes; the services are stood in for by one that only says it lives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from services.console.local import stack
from services.console.local.emulator import is_healthy
from services.console.local.processes import ProcessRecord, tagged
from services.console.local.stack import Up
from services.console.local.state import AlreadyRunningError, DataDir
from services.console.local.status import status
from services.runtime.failures import BadDeclarationError, PermanentError

LIVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(0)))
print("up", flush=True)
while True:
    time.sleep(1)
"""
WORKERS: Mapping[str, Sequence[str]] = {
    "planner": (sys.executable, "-c", LIVES),
    "merger": (sys.executable, "-c", LIVES),
}


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Fail unless the condition comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def up(home: DataDir, **options: int) -> Up:
    return stack.up(home, detach=True, progress=lambda _: None, workers=WORKERS, port=options.get("port", 0))


def pid(home: DataDir, name: str) -> int:
    [found] = [p.pid for p in status(home).processes if p.name == name]
    return found


def said(home: DataDir, name: str, line: str) -> Callable[[], bool]:
    return lambda: line in home.log(name).read_text().splitlines()


def kill(*pids: int) -> None:
    """SIGKILL, and wait until they are gone."""
    for number in pids:
        os.kill(number, signal.SIGKILL)
    eventually(lambda: not any(lives(number) for number in pids), "killed processes are still there")


def lives(number: int) -> bool:
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def home(tmp_path: Path) -> Iterator[DataDir]:
    """A data directory whose processes are gone after the test."""
    home = DataDir(tmp_path / "data")
    yield home
    stack.down(home, lambda _: None)
    assert tagged(home.path) == []


def test_up_status_and_down(home: DataDir) -> None:
    """Ready within ten seconds, each process with its figures, a clean end with every worker asked first."""
    started = time.monotonic()
    result = up(home)
    assert time.monotonic() - started < 10
    assert (result.started, result.recovered) == (True, False)
    assert is_healthy(result.state.port)

    now = status(home)
    assert now.state == "running"
    assert [p.name for p in now.processes] == ["supervisor", "emulator", "planner", "merger"]
    assert all(p.state == "running" and p.memory_bytes > 1e6 and p.uptime_s < 30 for p in now.processes)

    eventually(said(home, "planner", "up"), "the worker does not run")
    assert stack.down(home, lambda _: None)
    assert status(home).state == "stopped"
    assert not any(lives(p.pid) for p in now.processes)
    assert home.log("planner").read_text().splitlines() == ["up", "bye"]
    assert not stack.down(home, lambda _: None)


def test_a_second_up_starts_nothing_and_data_survive_a_restart(home: DataDir) -> None:
    """The second says what runs; after down and up nothing is to be recovered and the port is the same."""
    first = up(home)
    second = up(home)
    assert (second.started, second.state) == (False, first.state)
    assert len(tagged(home.path)) == 3
    stack.down(home, lambda _: None)
    third = stack.up(home, detach=True, progress=lambda _: None, workers=WORKERS)
    assert (third.started, third.recovered, third.state.port) == (True, False, first.state.port)


def test_two_at_once_give_one_stack(home: DataDir) -> None:
    """Whoever comes second waits for the first one's stack."""
    program = (
        "import sys, json; from pathlib import Path; from services.console.local import stack;"
        "from services.console.local.state import DataDir;"
        "r = stack.up(DataDir(Path(sys.argv[1])), detach=True, progress=lambda _: None, port=0,"
        " workers=json.loads(sys.argv[2])); print(r.started)"
    )
    arguments = [sys.executable, "-c", program, str(home.path), json.dumps({"planner": ["sleep", "60"]})]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(process.communicate()[0].strip() for process in both)
    assert answers == ["False", "True"]
    assert len(tagged(home.path)) == 2
    with pytest.raises(AlreadyRunningError), home.owned():
        pytest.fail("the supervisor must own the directory")


def test_a_killed_worker_is_started_again(home: DataDir) -> None:
    """The supervisor restarts it, counts it and says so in its log."""
    up(home)
    before = pid(home, "planner")
    kill(before)
    eventually(lambda: pid(home, "planner") != before, "the worker was not started again")
    [planner] = [p for p in status(home).processes if p.name == "planner"]
    assert (planner.state, planner.restarts) == ("running", 1)
    log = home.log("supervisor").read_text()
    assert "planner: ended unexpectedly (signal SIGKILL)" in log


def test_a_killed_emulator_stops_the_stack_and_the_next_up_recovers(home: DataDir) -> None:
    """Tables and queues are provisioned anew, and recovery stays pending until it is acknowledged."""
    result = up(home)
    kill(pid(home, "emulator"))
    eventually(lambda: status(home).state == "stopped", "the supervisor did not stop")
    assert "the AWS emulator ended unexpectedly" in (status(home).failure or "")
    assert not lives(result.state.processes[1].pid)

    assert up(home).recovered
    stack.down(home, lambda _: None)
    assert up(home).recovered
    home.acknowledge_recovery()
    assert not up(home).recovered


def test_a_killed_supervisor_loses_nothing(home: DataDir) -> None:
    """The orphaned emulator is asked to end and persists: the next up needs no recovery."""
    state = up(home).state
    kill(state.supervisor.pid)
    crashed = status(home)
    assert crashed.state == "crashed"
    assert {p.state for p in crashed.processes} == {"dead", "orphaned"}

    again = up(home)
    assert (again.started, again.recovered) == (True, False)
    assert not any(record.alive for record in state.processes)
    assert len(tagged(home.path)) == 3


def test_everything_killed_at_once(home: DataDir) -> None:
    """Nothing is left to stop; the next up starts and recovers."""
    state = up(home).state
    kill(state.supervisor.pid, *(record.pid for record in state.processes))
    again = up(home)
    assert (again.started, again.recovered) == (True, True)


def test_down_after_a_crash_stops_the_orphans(home: DataDir) -> None:
    """Orphans that the state file does not know are found by the tag in their environment."""
    state = up(home).state
    kill(state.supervisor.pid)
    (home.path / "stack.json").unlink()
    stack.down(home, lambda _: None)
    assert not any(record.alive for record in state.processes)


def test_a_recycled_pid_is_left_alone(home: DataDir) -> None:
    """A process that has the pid of a dead worker, and not its start time, is not ours to stop."""
    state = up(home).state
    stack.down(home, lambda _: None)
    stranger = subprocess.Popen([sys.executable, "-c", LIVES], stdout=subprocess.DEVNULL)
    try:
        old = ProcessRecord(name="planner", pid=stranger.pid, started=psutil.Process(stranger.pid).create_time() - 60)
        home.save(state.model_copy(update={"processes": [old], "supervisor": old}))
        assert not old.alive
        assert up(home).started
        stack.down(home, lambda _: None)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_paths_in_the_environment_are_the_callers(home: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative TIDEGATE_PIPELINES means the caller's folder, though workers start in the project's."""
    monkeypatch.chdir(home.path.parent)
    monkeypatch.setenv("TIDEGATE_PIPELINES", "mine")
    shows = {"planner": (sys.executable, "-c", "import os; print(os.environ['TIDEGATE_PIPELINES'])")}
    stack.up(home, detach=True, progress=lambda _: None, workers=shows, port=0)
    eventually(said(home, "planner", str(home.path.parent / "mine")), "the path is another one")


def test_a_taken_port_starts_nothing(home: DataDir) -> None:
    """One clear error; no process is left, and the directory is still usable."""
    first = up(home)
    other = DataDir(home.path.parent / "other")
    with pytest.raises(BadDeclarationError, match=f"port {first.state.port} cannot be used"):
        up(other, port=first.state.port)
    assert tagged(other.path) == []
    assert status(other).state == "stopped"


def test_a_worker_that_cannot_start_is_retried_with_a_pause(home: DataDir) -> None:
    """A service that dies at once does not spin: after a second it was started two or three times."""
    broken = {"planner": (sys.executable, "-c", "raise SystemExit('no such table')")}
    stack.up(home, detach=True, progress=lambda _: None, workers=broken, port=0)
    eventually(lambda: home.log("planner").read_text().count("no such table") == 2, "it was not retried")
    assert "ended unexpectedly (exit code 1); next start in 0.5 s" in home.log("supervisor").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_front_a_signal_stops_everything(home: DataDir, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the workers, then the emulator, and the command returns normally."""
    program = (
        "import sys, json; from pathlib import Path; from services.console.local import stack;"
        "from services.console.local.state import DataDir;"
        "stack.up(DataDir(Path(sys.argv[1])), detach=False, progress=lambda _: None, port=0,"
        " workers=json.loads(sys.argv[2]), on_ready=lambda up: print('ready', flush=True)); print('done')"
    )
    worker = json.dumps({"planner": [sys.executable, "-c", LIVES]})
    front = subprocess.Popen([sys.executable, "-c", program, str(home.path), worker], stdout=subprocess.PIPE, text=True)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    assert status(home).state == "running"
    eventually(said(home, "planner", "up"), "the worker does not run")
    front.send_signal(number)
    assert front.communicate(timeout=20)[0] == "done\n"
    assert front.returncode == 0
    assert home.log("planner").read_text().splitlines()[-1] == "bye"
    assert not up(home).recovered


def test_reset_refuses_what_is_not_ours(tmp_path: Path, home: DataDir) -> None:
    """A directory without our marker is never removed nor used; our own is."""
    foreign = DataDir(tmp_path / "photos")
    foreign.path.mkdir()
    (foreign.path / "holiday.jpg").touch()
    with pytest.raises(BadDeclarationError, match="nothing was removed"):
        stack.reset(foreign, lambda _: None)
    with pytest.raises(BadDeclarationError, match="choose another"):
        up(foreign)
    assert (foreign.path / "holiday.jpg").exists()

    up(home)
    assert stack.reset(home, lambda _: None)
    assert not home.path.exists()
    assert tagged(home.path) == []
    assert not stack.reset(home, lambda _: None)


def test_what_needs_a_running_stack_says_so(home: DataDir) -> None:
    """No endpoint is invented for a stack that does not run."""
    with pytest.raises(PermanentError, match="tidegate local up"):
        stack.running_state(home)
    assert status(home).processes == []
