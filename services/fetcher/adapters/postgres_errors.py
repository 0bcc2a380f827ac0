"""What the driver's errors mean. The text that is passed on is the server's own line, never the query or the DSN."""

from collections.abc import Iterator
from contextlib import contextmanager

from adbc_driver_manager import AdbcStatusCode, Error

from services.runtime.failures import PermanentError, TemporaryError, TidegateError
from services.runtime.postgres.states import PASSING, RETRY_S

PRIMARY = "PG_DIAG_MESSAGE_PRIMARY"
REFUSALS = ("authentication failed", "no password supplied", "pg_hba.conf", "is not permitted to log in")


class LoginRefusedError(PermanentError):
    """The server knows the user or the password no more, or not yet."""


@contextmanager
def connecting(where: str) -> Iterator[None]:
    """Translate what goes wrong while a connection is made; there the driver knows no SQLSTATE.

    Raises:
        LoginRefusedError: the server answered, and does not let us in.
        TemporaryError: it did not answer.
    """
    try:
        yield
    except Error as error:
        words = _words(error)
        if any(refusal in words for refusal in REFUSALS) or ("does not exist" in words and "FATAL" in words):
            raise LoginRefusedError(f"{where}: {words}") from error
        raise TemporaryError(f"{where}: {words}", delay=RETRY_S) from error


@contextmanager
def querying(where: str) -> Iterator[None]:
    """Translate what goes wrong on a connection.

    Raises:
        PermanentError: the server refuses the query, or a value of it.
        TemporaryError: the connection broke off, or the server would do it at another time.
    """
    try:
        yield
    except Error as error:
        raise _translated(error, where) from error


def _translated(error: Error, where: str) -> TidegateError:
    state, words = error.sqlstate, _words(error)
    passes = state.startswith(PASSING) if state else error.status_code is AdbcStatusCode.IO
    text = f"{where}: {words}" + (f" ({state})" if state else "")
    return TemporaryError(text, delay=RETRY_S) if passes else PermanentError(text)


def _words(error: Error) -> str:
    """The server's or libpq's own words in one line."""
    for name, value in error.details:
        if name in {PRIMARY, PRIMARY.encode()}:
            return value.decode(errors="replace")
    text = str(error).partition("[libpq] ")[2] or str(error)
    return " ".join(text.partition("\n\nQuery was:")[0].split())
