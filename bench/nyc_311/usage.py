"""CPU time and memory of processes that go on after a measurement."""

from pathlib import Path

import psutil

KIB = 1024


def cpu_s(pid: int) -> float:
    """User and system seconds that a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_rss_bytes(pid: int) -> int:
    """The most memory a process has had. Where the system does not keep that, what it has now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    return int(psutil.Process(pid).memory_info().rss)
