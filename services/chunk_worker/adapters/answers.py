"""Answers to Step Functions, by task token."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from botocore.exceptions import ClientError

from contracts.envelope import Json
from services.runtime.aws.errors import code_of, translated
from services.runtime.failures import PermanentError

if TYPE_CHECKING:
    from types_aiobotocore_stepfunctions import SFNClient

log = structlog.get_logger()

OUTPUT_BYTES = 256 * 1024
"""Longest result that Step Functions takes, in UTF-8."""
ERROR_CHARACTERS = 256
CAUSE_CHARACTERS = 32_768
CUT = " …"
"""Ends a cause that was longer."""
NOBODY_WAITS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


class _NobodyWaitsError(Exception):
    """The task has ended: it was answered, or ran into its time limit, or its execution was stopped."""


class StepFunctionsAnswers:
    """``Answers`` over Step Functions.

    Every method raises PermanentError, AccessDeniedError, TemporaryError or UnreachableError where the service refuses
    or does not answer. An answer that was given although the call failed is no harm: the repetition returns False.
    """

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    async def succeed(self, token: str, result: Json) -> bool:
        """See the port.

        Raises:
            PermanentError: the result is larger than 256 KiB; nothing was answered.
        """
        output = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        size = len(output.encode())
        if size > OUTPUT_BYTES:
            raise PermanentError(f"the result for the state machine has {size:,} bytes, more than {OUTPUT_BYTES:,}")
        try:
            with _answering("SendTaskSuccess"):
                await self._client.send_task_success(taskToken=token, output=output)
        except _NobodyWaitsError:
            return False
        return True

    async def fail(self, token: str, error: str, cause: str) -> bool:
        """See the port; what is longer than the service takes is cut."""
        error, cause = as_told(error, cause)
        try:
            with _answering("SendTaskFailure"):
                await self._client.send_task_failure(taskToken=token, error=error, cause=cause)
        except _NobodyWaitsError:
            return False
        return True

    async def heartbeat(self, token: str) -> bool:
        """See the port."""
        try:
            with _answering("SendTaskHeartbeat"):
                await self._client.send_task_heartbeat(taskToken=token)
        except _NobodyWaitsError:
            return False
        return True


def as_told(error: str, cause: str) -> tuple[str, str]:
    """A failure's name and its cause, cut to what the service takes."""
    if len(cause) > CAUSE_CHARACTERS:
        cause = cause[: CAUSE_CHARACTERS - len(CUT)] + CUT
    return error[:ERROR_CHARACTERS], cause


@contextmanager
def _answering(what: str) -> Iterator[None]:
    with translated(what):
        try:
            yield
        except ClientError as error:
            if (code := code_of(error)) not in NOBODY_WAITS:
                raise
            log.info("nobody waits for this answer any more", call=what, why=code)
            raise _NobodyWaitsError from error
