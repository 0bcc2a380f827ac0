"""The embedded stack as the operator's commands see it: up, down, status, reset."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.console.local.emulator import STOP_GRACE_S, choose_port, last_line
from services.console.local.environment import with_absolute_paths
from services.console.local.processes import terminate, wait_for_end
from services.console.local.shop import discard
from services.console.local.state import AlreadyRunningError, DataDir, ShopPorts, StackState
from services.console.local.supervisor import ALREADY_RUNNING, WORKER_GRACE_S, Options, Supervisor, clean_up
from services.console.local.venv import Progress, ensure_installed
from services.console.local.worker import WORKERS
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.settings import PROJECT

DEFAULT_PORT = 4566
READY_DEADLINE_S = 60.0
_STOP_DEADLINE_S = WORKER_GRACE_S + 2 * STOP_GRACE_S
_POLL_S = 0.05


@dataclass(frozen=True)
class Up:
    """What ``up`` found or did."""

    state: StackState
    started: bool
    """False: it ran already, nothing was started."""
    recovered: bool
    """Tables and queues were lost in a crash and no recovery scan was dispatched yet."""


def up(
    home: DataDir,
    *,
    stack: str = "tidegate",
    port: int | None = None,
    detach: bool,
    progress: Progress,
    workers: Mapping[str, Sequence[str]] | None = None,
    on_ready: Callable[[Up], None] = lambda _: None,
) -> Up:
    """Start the stack unless it runs. In front, return when it has stopped; detached, when it is ready.

    ``port`` None takes the last one used, else the usual one, else any that is free. ``workers`` None are the
    project's own services, with the sample servers beside them. ``on_ready`` is called once the stack answers,
    also when it ran already.

    Raises:
        BadDeclarationError: the port is taken or the directory is not a stack's; nothing was started.
        TidegateError: a part did not start; what had started was stopped again.
    """
    home.prepare()
    state = _running(home)
    if state is None:
        ensure_installed(progress)
        try:
            with home.owned():
                clean_up(home, progress)  # before the choice of a port, which a leftover may still hold
            chosen = _choose(home, port)
            socrata, postgres, commerce = _choose_samples(home, chosen)
            options = Options(
                data_dir=home.path,
                port=chosen,
                socrata_port=socrata if workers is None else None,
                shop_ports=ShopPorts(postgres=postgres, commerce=commerce) if workers is None else None,
                stack=stack,
                detached=detach,
                workers=WORKERS if workers is None else workers,
            )
            if not detach:
                return _in_front(home, options, progress, on_ready)
            state, started = _detached(home, options)
        except AlreadyRunningError:
            state, started = _await_running(home), False
    else:
        started = False
    result = Up(state, started=started, recovered=home.recovery_pending)
    on_ready(result)
    return result


def down(home: DataDir, progress: Progress) -> bool:
    """Stop the stack and wait until it has stopped; also what a crash left behind. False if nothing ran.

    Raises:
        TemporaryError: it is still stopping after the longest time that can take.
    """
    if not home.is_ours:
        return False
    state = home.load()
    if state is not None and state.supervisor.alive:
        progress("stopping")
        # By force only a supervisor that hangs; what it leaves is cleaned up below.
        terminate([state.supervisor], _STOP_DEADLINE_S)
        stopped = True
    else:
        stopped = state is not None and state.phase != "stopped"
    try:
        with home.owned():
            clean_up(home, progress)
            _mark_stopped(home)
    except AlreadyRunningError as error:
        raise TemporaryError(f"{home.path}: another supervisor has just started") from error
    return stopped


def reset(home: DataDir, progress: Progress) -> bool:
    """Stop the stack and remove its data directory. False if there is none.

    Raises:
        BadDeclarationError: the directory does not carry our marker; nothing was touched.
    """
    if not home.path.exists():
        return False
    if not home.is_ours:
        raise BadDeclarationError(f"{home.path} is not a local stack's data directory; nothing was removed")
    down(home, progress)
    with home.owned():
        discard(home.path)
        shutil.rmtree(home.path)
    return True


def running_state(home: DataDir) -> StackState:
    """The state of a stack that runs.

    Raises:
        PermanentError: none does.
    """
    state = _running(home) if home.is_ours else None
    if state is None:
        raise PermanentError("the local stack is not running; start it with `tidegate local up --detach`")
    return state


def _running(home: DataDir) -> StackState | None:
    state = home.load()
    if state is None or not state.supervisor.alive:
        return None
    if state.phase in {"stopping", "stopped"}:
        if not wait_for_end([state.supervisor], _STOP_DEADLINE_S):
            raise TemporaryError(f"the stack is still stopping; see {home.log('supervisor')}")
        return None
    return _await_running(home)


def _choose(home: DataDir, port: int | None) -> int:
    if port is not None:
        return choose_port(port)
    state = home.load()
    for candidate in (state.port if state else DEFAULT_PORT, DEFAULT_PORT):
        try:
            return choose_port(candidate)
        except BadDeclarationError:
            continue  # somebody else has it; nobody asked for this very port
    return choose_port(0)


def _choose_samples(home: DataDir, emulator: int) -> tuple[int, int, int]:
    """Ports of the sample portal, the shop's database and its API.

    Each is the last one used, so that exported settings stay right, or any that is free; no two are the same.
    """
    state = home.load()
    shop = None if state is None else state.shop_ports
    taken = {emulator}
    found: list[int] = []
    for last in (
        None if state is None else state.socrata_port,
        None if shop is None else shop.postgres,
        None if shop is None else shop.commerce,
    ):
        port = _free(last, taken)
        taken.add(port)
        found.append(port)
    return found[0], found[1], found[2]


def _free(last: int | None, taken: set[int]) -> int:
    """The last port, if nobody else has it by now, or any other that is free."""
    if last is not None and last not in taken:
        try:
            return choose_port(last)
        except BadDeclarationError:
            pass  # somebody else has it; nobody asked for this very port
    port = choose_port(0)
    while port in taken:
        port = choose_port(0)
    return port


def _in_front(home: DataDir, options: Options, progress: Progress, on_ready: Callable[[Up], None]) -> Up:
    ready: list[Up] = []

    def report(state: StackState) -> None:
        ready.append(Up(state, started=True, recovered=home.recovery_pending))
        on_ready(ready[0])

    supervisor = Supervisor(options, progress)
    supervisor.run(report)
    return ready[0] if ready else Up(supervisor.state, started=True, recovered=home.recovery_pending)


def _detached(home: DataDir, options: Options) -> tuple[StackState, bool]:
    log = home.log("supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module and options
            [sys.executable, "-m", "services.console.local.supervisor", options.model_dump_json()],
            cwd=PROJECT,
            env=with_absolute_paths(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state = _await_running(home, process)
    return state, state.supervisor.pid == process.pid


def _await_running(home: DataDir, process: subprocess.Popen[bytes] | None = None) -> StackState:
    deadline = time.monotonic() + READY_DEADLINE_S
    log = home.log("supervisor")
    seen = False
    while time.monotonic() < deadline:
        state = home.load()
        alive = state is not None and state.supervisor.alive
        if state is not None and state.phase == "running" and alive:
            return state
        if process is None and seen and not alive:
            raise TemporaryError("the stack that was starting has stopped; try again")
        seen = seen or alive
        if process is not None and process.poll() not in {None, ALREADY_RUNNING}:
            raise PermanentError(f"the stack did not start: {last_line(log)}")
        time.sleep(_POLL_S)
    raise TemporaryError(f"the stack is not ready after {READY_DEADLINE_S:.0f} s; see {log}")


def _mark_stopped(home: DataDir) -> None:
    state = home.load()
    if state is not None and state.phase != "stopped":
        home.save(state.model_copy(update={"phase": "stopped", "processes": []}))
