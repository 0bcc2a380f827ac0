"""Runs one command and prints what it cost, as JSON.

A process of its own, and a small one: Linux counts the memory of the process that starts a program towards the
program's peak, so a large parent would spoil the figure.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

KIB = 1024


def main() -> None:
    """Run the command given as arguments; exit as it exits."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        child = subprocess.Popen(sys.argv[1:], stdout=output)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        cost = {
            "wall_s": wall_s,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else KIB),
            "output": output.read().decode(),
        }
    sys.stdout.write(json.dumps(cost) + "\n")
    sys.exit(child.returncode)


if __name__ == "__main__":
    main()
