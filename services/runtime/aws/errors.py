"""AWS errors translated into the runtime's own, once, at the edge."""

from collections.abc import Iterator
from contextlib import contextmanager

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
                    "AuthorizationError", "InvalidClientTokenId", "AllAccessDisabled"})  # fmt: skip
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "NotFound", "ResourceNotFoundException",
                     "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})  # fmt: skip
CONFLICT = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "ConditionalCheckFailedException"})
BUSY = frozenset({"SlowDown", "503", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
                  "ProvisionedThroughputExceededException", "TransactionInProgressException", "InternalError",
                  "InternalServerError", "500", "RequestTimeout", "TransactionConflictException"})  # fmt: skip


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
    if code in BUSY:
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
