"""One action from the command line: ``python -m services.chunk_worker.action NAME --job JOB --payload JSON``.

The result is one JSON object on standard output. What is wrong is one line on standard error; the exit code is then 1
if the action failed, and 2 if it was not understood.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError

from contracts.chunks import ActionName, ActionResult
from services.chunk_worker.bootstrap import ChunkWorker, build
from services.runtime.failures import BadDeclarationError, MalformedError, TidegateError

FAILED, NOT_UNDERSTOOD = 1, 2
QUIET = {"LOG_LEVEL": "WARNING"}
"""Unless the environment says otherwise: an operator wants the result."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        raise MalformedError(message)


Build = Callable[[], AbstractAsyncContextManager[ChunkWorker]]


def main(arguments: Sequence[str], build: Build = build) -> int:
    """Carry out an action and print its result; returns the exit code."""
    try:
        request = read_arguments(arguments)
    except MalformedError as error:
        return _complain(error, NOT_UNDERSTOOD)
    try:
        result = asyncio.run(_act(request, build))
    except (MalformedError, BadDeclarationError) as error:
        return _complain(error, NOT_UNDERSTOOD)
    except (TidegateError, BotoCoreError) as error:  # the SDK's own: it is not told where or who it is
        return _complain(error, FAILED)
    sys.stdout.write(result.model_dump_json() + "\n")
    return 0


def read_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """The request that a command line stands for.

    Raises:
        MalformedError: it stands for none.
    """
    parser = _Parser(prog="action", description="Carry out an action of a chunked job.")
    parser.add_argument("name", metavar="NAME", help=", ".join(ActionName))
    parser.add_argument("--job", help="the chunked job; the only one there is need not be named")
    parser.add_argument("--payload", default="{}", help='JSON, such as {"run_id": "…", "chunk": {"target_rows": 5000}}')
    given = parser.parse_args(arguments)
    if given.name not in [*ActionName]:
        raise MalformedError(f"there is no action {given.name!r}; there are {', '.join(ActionName)}")
    try:
        payload = json.loads(given.payload)
    except ValueError as error:
        raise MalformedError(f"--payload is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise MalformedError("--payload is not a JSON object")
    return {"action": given.name, "pipeline": given.job, "payload": payload}


async def _act(request: Mapping[str, Any], build: Build) -> ActionResult:
    async with build() as worker:
        return await worker.act(request)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return code


if __name__ == "__main__":
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    raise SystemExit(main(sys.argv[1:]))
