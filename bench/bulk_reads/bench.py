"""Designs for reading many small objects, side by side on the same stub.

python -m bench.bulk_reads.bench --files 10000 --in-flight 64 --rounds 5
"""

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.bulk_reads.designs import DESIGNS
from bench.harness import Candidate, FailedCandidateError, Measurement, run
from bench.stub_process import StubProcess

LIBRARIES = ("aiobotocore", "aiohttp", "boto3", "obstore")


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="Designs for reading many small objects.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency-ms", type=float, default=15.0, help="of every S3 answer")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = [name for name in DESIGNS if not name.startswith("obstore") or importlib.util.find_spec("obstore")]
    seen: dict[str, int] = {}
    with StubProcess(files=options.files, latency_ms=options.latency_ms) as stub:
        os.environ.update(stub.environ())
        arguments = ("--in-flight", str(options.in_flight), "--endpoint", stub.url, "--bucket", stub.bucket)

        def before(_: Candidate, __: int) -> Sequence[str]:
            seen.update(stub.stats())
            return arguments

        def after(candidate: Candidate, measurement: Measurement) -> Mapping[str, Any]:
            if measurement.output["files"] != options.files:
                raise FailedCandidateError(f"{candidate.name} read {measurement.output['files']} files")
            return {"stub_cpu_s": stub.stats()["cpu_s"] - seen["cpu_s"]}

        measurements = run(
            f"bulk_reads_{options.in_flight}",
            [Candidate(name, (sys.executable, "-m", "bench.bulk_reads.designs", name)) for name in names],
            options.rounds,
            units={"files": options.files},
            before=before,
            after=after,
            libraries=LIBRARIES,
        )
    for name in names:
        outputs = [measurement.output for measurement in measurements if measurement.candidate == name]
        rate = statistics.median(output["files_per_s"] for output in outputs)
        cost = statistics.median(output["cpu_ms_per_file"] for output in outputs)
        print(f"{name:18} reading alone: {rate:6,.0f} files/s, {cost:.3f} CPU ms per file")


if __name__ == "__main__":
    main()
