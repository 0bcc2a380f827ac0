"""The contenders as whoever operates them plays them: a run is started, may be killed, and is started again."""

import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from bench import PROJECT
from bench.nyc_311.arena import Arena
from bench.nyc_311.contenders import Contender, Peer, Services
from bench.nyc_311.ours import Ended
from bench.nyc_311.source import Source


class Player(Protocol):
    """One contender on one arena; at most one run is under way."""

    def start(self, now: datetime) -> None:
        """Start the run of this time."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether the run that was started has not ended yet."""
        ...

    def kill(self) -> None:
        """Kill every process that takes part, as ``kill -9`` does."""
        ...

    def again(self) -> None:
        """What an operator does after that."""
        ...

    def wait(self) -> None:
        """Wait for the end of the run; raises if it failed."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


class FailedPeerError(Exception):
    """A peer's run ended with an error; its own message is on stderr."""


class PeerPlayer:
    """A program: after a kill it is started again with the same arguments."""

    def __init__(self, peer: Peer, place: Arena, source: Source) -> None:
        self._command: Callable[[datetime], Sequence[str]] = lambda now: peer.command(place, source, now)
        self._name = peer.name
        self._process: subprocess.Popen[bytes] | None = None
        self._now: datetime | None = None
        place.make_buckets()

    def start(self, now: datetime) -> None:
        """Start the program."""
        self._now = now
        self._process = subprocess.Popen(self._command(now), cwd=PROJECT, stdout=subprocess.DEVNULL)

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def again(self) -> None:
        """Start it again."""
        if self._now is not None:
            self.start(self._now)

    def wait(self) -> None:
        """Wait for its end.

        Raises:
            FailedPeerError: it did not exit with 0.
        """
        if self._process is not None and self._process.wait():
            raise FailedPeerError(f"{self._name} exited with {self._process.returncode}")

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.is_running:
            self.kill()


class ServicesPlayer:
    """Workers: after a kill they are started again, as their supervisor would, and the queues go on from there."""

    def __init__(self, services: Services, place: Arena, source: Source) -> None:
        self._ours = services.stack(place, source)
        self._ours.workers.start()
        self._follower = ThreadPoolExecutor(max_workers=1)
        self._run: Future[Ended] | None = None

    def start(self, now: datetime) -> None:  # noqa: ARG002 - ours goes by the source's newest row, not by a clock
        """Ask for a run and follow it in the ledger."""
        self._run = self._follower.submit(self._ours.run)

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended in the ledger."""
        return self._run is not None and not self._run.done()

    def kill(self) -> None:
        """Kill every worker."""
        self._ours.workers.kill()

    def again(self) -> None:
        """Start every worker."""
        self._ours.workers.start()

    def wait(self) -> None:
        """Wait for the run's success; it raises what ``Ours.run`` raises."""
        if self._run is not None:
            self._run.result()

    def close(self) -> None:
        """Stop the workers; a run that is still followed is given up."""
        self._ours.give_up()
        self._follower.shutdown()
        self._ours.workers.stop()


def player(contender: Contender, place: Arena, source: Source) -> Player:
    """Who plays a contender."""
    if isinstance(contender, Peer):
        return PeerPlayer(contender, place, source)
    return ServicesPlayer(contender, place, source)
