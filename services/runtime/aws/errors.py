"""AWS errors translated into the runtime's own, once, at the edge."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from services.runtime.failures import (
    AccessDeniedError,
    ConflictError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    TidegateError,
    UnreachableError,
)

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "403", "Forbidden", "InvalidAccessKeyId",
                    "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException",
                    "AuthorizationError", "InvalidClientTokenId", "AllAccessDisabled", "ExpiredTokenException",
                    "KMSAccessDenied", "KmsAccessDenied", "KMS.AccessDeniedException",
                    "KMSAccessDeniedException", "KmsAccessDeniedException"})  # fmt: skip
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "NotFound", "ResourceNotFoundException",
                     "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})  # fmt: skip
CONFLICT = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "ConditionalCheckFailedException"})
BUSY = frozenset({"SlowDown", "503", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
                  "ProvisionedThroughputExceededException", "TransactionInProgressException", "InternalError",
                  "InternalServerError", "500", "RequestTimeout", "TransactionConflictException",
                  "OverLimit"})  # fmt: skip
ARCHIVED = "InvalidObjectState"
"""The object is in an archive; S3 calls that forbidden, too."""


def code_of(error: ClientError) -> str:
    """The service's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(error: ClientError, what: str) -> TidegateError:
    """The runtime's name for a service's refusal; ``what`` says what was tried, on which resource."""
    code = code_of(error)
    text = f"{what}: {code}: {error.response.get('Error', {}).get('Message', '')}"
    if code in CONFLICT:
        return ConflictError(text)
    if code in MISSING:
        return MissingObjectError(text)
    if code in DENIED:
        return AccessDeniedError(text)
    # Each service, and KMS behind it, has throttling codes of its own, which all say so.
    if code in BUSY or "throttl" in code.lower():
        return TemporaryError(text)
    if code == ARCHIVED:
        return PermanentError(text)
    return _by_status(int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)), text)


def _by_status(status: int, text: str) -> TidegateError:
    """What an error code that nobody listed means."""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDeniedError(text)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TemporaryError(text)
    return PermanentError(text)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate whatever AWS raises inside the block.

    Raises:
        ConflictError, MissingObjectError, AccessDeniedError, TemporaryError, PermanentError: the service refused.
        UnreachableError: no answer from the endpoint.
    """
    try:
        yield
    except ClientError as error:
        raise translate(error, what) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessDeniedError(f"{what}: {error}") from error
    except (BotoConnectionError, HTTPClientError, OSError) as error:
        raise UnreachableError(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise PermanentError(f"{what}: {error}") from error
