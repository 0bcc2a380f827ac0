"""The command line: ``python -m infra.packages [--python VERSION] [--architecture NAME] [--output FOLDER]``."""

import argparse
import sys
from pathlib import Path

from infra.packages.build import Places, build_all
from infra.packages.declared import PROJECT, PackagingError, read_packages
from infra.packages.sizes import table, violations, weighed, write_sizes
from infra.packages.wheels import Target


def main() -> None:
    """Build everything, print what it weighs, and fail where Lambda would refuse it."""
    try:
        wrong = _build()
    except (PackagingError, OSError) as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(bool(wrong))


def _build() -> list[str]:
    packages = read_packages()
    parser = argparse.ArgumentParser(prog="python -m infra.packages", description="Build zips for AWS Lambda.")
    parser.add_argument("--python", default=packages.python, help="version of the runtime (%(default)s)")
    parser.add_argument(
        "--architecture", default=packages.architecture, help="x86_64, arm64, or native: this machine (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=PROJECT / "dist", help="folder of the zips (dist)")
    given = parser.parse_args()
    target = Target(given.python, given.architecture, packages.glibc)
    places = Places(output=given.output, wheels=PROJECT / "dist" / "wheels")
    built = build_all(packages, target, places, say=print)
    weights = weighed(packages, built, target)
    write_sizes(places.output / "sizes.json", weights)
    print("", *table(weights), sep="\n")
    return violations(weights)


if __name__ == "__main__":
    main()
