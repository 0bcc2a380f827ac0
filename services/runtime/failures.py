"""What can go wrong, named by what happens next.

TidegateError
├── PermanentError            retries are useless: quarantine the record, fail the run, or let the DLQ have it
│   ├── AccessDeniedError     the service may not do this; an operator must act
│   ├── MissingObjectError    the object or version is not there (any more)
│   ├── BadDeclarationError   a pipeline file or a setting is wrong
│   ├── CorruptCheckpointError  the checkpoint is not what was committed; `tidegate checkpoint restore` cures it
│   └── MalformedError        a message or a segment cannot be read
├── TemporaryError(delay)     come back later, without blame
│   └── LeaseHeldError        somebody else owns the resource for now
├── ConflictError             a compare-and-swap lost: read again and start over
│   └── StaleLeaseError       our lease expired or a younger fencing token was granted; stop at once
└── UnreachableError          an endpoint does not answer (after the client's own retries)

Library errors are translated where they enter (the adapters) and chained. Anything else is a defect: it is not
caught, SQS redelivers, and after ``maxReceiveCount`` the message is in the DLQ.
"""


class TidegateError(Exception):
    """Base of every error we raise on purpose; ``str()`` of it is one line for an operator."""


class PermanentError(TidegateError):
    """Trying again cannot help."""


class AccessDeniedError(PermanentError):
    """AWS refused the call; the text names the action and the resource."""


class MissingObjectError(PermanentError):
    """The object, or that version of it, does not exist."""


class BadDeclarationError(PermanentError):
    """A pipeline declaration or a setting is wrong; the text says where."""


class CorruptCheckpointError(PermanentError):
    """A checkpoint object is unreadable, or is not the one the last commit wrote."""


class MalformedError(PermanentError):
    """A message, notification or segment is not in the shape its contract says."""


class TemporaryError(TidegateError):
    """Not now; ``delay`` is how many seconds to wait before the next attempt."""

    def __init__(self, message: str, *, delay: float = 5.0) -> None:
        super().__init__(message)
        self.delay = delay


class LeaseHeldError(TemporaryError):
    """Another owner holds the lease and it has not expired."""


class ConflictError(TidegateError):
    """A conditional write lost against another writer; nothing was changed."""


class StaleLeaseError(ConflictError):
    """The lease is no longer ours; whatever it protected must not be written."""


class UnreachableError(TidegateError):
    """An endpoint does not answer; the text names it."""
