"""The AWS environment of this process and its children, without the operator's own settings."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PATHS = ("TIDEGATE_PIPELINES", "TIDEGATE_EMULATOR_PYTHON")


def without_aws(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy without AWS settings: a profile or a session token of the operator must not mix with ours."""
    return {name: value for name, value in environ.items() if not name.startswith("AWS_")}


def with_absolute_paths(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy whose paths still mean the same in a process that starts in another folder."""
    found = {name: environ[name] for name in _PATHS if environ.get(name)}
    return {**environ, **{name: str(Path(path).absolute()) for name, path in found.items()}}


@contextmanager
def pointed_at(exports: Mapping[str, str]) -> Iterator[None]:
    """Point the AWS clients that this block opens at a stack; the environment is put back afterwards."""
    before = dict(os.environ)
    try:
        _replace(without_aws(before) | dict(exports))
        yield
    finally:
        _replace(before)


def _replace(environ: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environ):
        del os.environ[name]
    os.environ.update(environ)
