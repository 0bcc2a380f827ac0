"""An action that is asked for directly: by a function's caller, or by an operator."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from contracts.chunks import ActionName, ActionResult, RunAction
from services.chunk_worker.core.ends import Retry
from services.chunk_worker.ports import Ports
from services.chunk_worker.use_case.actions import act
from services.chunk_worker.use_case.batch import job_of
from services.runtime.failures import BadDeclarationError, MalformedError, PermanentError, TemporaryError


async def act_directly(ports: Ports, request: Mapping[str, Any]) -> ActionResult:
    """Carry out ``{"action": …, "pipeline"?: …, "payload"?: {…}}``; the only job there is need not be named.

    Raises:
        MalformedError: the request is not of this shape; the text says what is wrong.
        PermanentError: it cannot be done.
        TemporaryError, ConflictError, UnreachableError: not now; ask again.
    """
    try:
        command = read_request(request, sorted(ports.jobs))
        end = await act(ports, job_of(ports, command.pipeline), command)
    finally:
        ports.telemetry.flush()
    if isinstance(end, ActionResult):
        return end
    if isinstance(end, Retry):
        raise TemporaryError(f"{end.reason} (ask again after {end.delay:g} s)", delay=end.delay)
    raise PermanentError(end.reason)


def read_request(request: Mapping[str, Any], jobs: list[str]) -> RunAction:
    """A request as a command.

    Raises:
        MalformedError: it is not of its shape.
        BadDeclarationError: it must name a job, and does not.
    """
    name = request.get("action")
    if name not in [*ActionName]:
        raise MalformedError(f"there is no action {name!r}; there are {', '.join(ActionName)}")
    if unknown := sorted(set(request) - {"action", "pipeline", "payload"}):
        raise MalformedError(f"an action has no {', '.join(unknown)}; it has action, pipeline and payload")
    pipeline = request.get("pipeline")
    if pipeline is None:
        if len(jobs) != 1:
            raise BadDeclarationError(f"pipeline: name one of the chunked jobs {jobs}")
        pipeline = jobs[0]
    try:
        return RunAction.model_validate(
            {
                "pipeline": pipeline,
                "action": name,
                "payload": {} if (given := request.get("payload")) is None else given,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise MalformedError(f"{where}: {first['msg']}") from error
