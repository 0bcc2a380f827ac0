"""What AWS's refusals mean to the services."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from services.runtime.aws.errors import translate
from services.runtime.failures import (
    AccessDeniedError,
    ConflictError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    TidegateError,
)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("PreconditionFailed", 412, ConflictError),
        ("NoSuchKey", 404, MissingObjectError),
        ("AccessDenied", 403, AccessDeniedError),
        ("ExpiredTokenException", 400, AccessDeniedError),
        ("KMS.AccessDeniedException", 400, AccessDeniedError),
        ("Unheard", 403, AccessDeniedError),
        ("ThrottlingException", 400, TemporaryError),
        ("RequestThrottled", 400, TemporaryError),
        ("KMS.ThrottlingException", 400, TemporaryError),
        ("KmsThrottled", 400, TemporaryError),
        ("OverLimit", 400, TemporaryError),
        ("Unheard", 429, TemporaryError),
        ("502", 502, TemporaryError),
        ("InternalServiceError", 500, TemporaryError),
        ("InvalidObjectState", 403, PermanentError),
        ("ValidationException", 400, PermanentError),
    ],
)
def test_refusals(code: str, status: int, meaning: type[TidegateError]) -> None:
    """Listed codes mean what they say; of others, throttling and the status do."""
    about = {"RequestId": "", "HostId": "", "HTTPHeaders": {}, "RetryAttempts": 0}
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {**about, "HTTPStatusCode": status}}
    assert type(translate(ClientError(answer, "Operation"), "what")) is meaning


def test_a_refusal_without_a_status_is_permanent() -> None:
    """An error that only has a code that nobody knows is none that passes."""
    assert type(translate(ClientError({"Error": {"Code": "Unheard"}}, "Operation"), "what")) is PermanentError
