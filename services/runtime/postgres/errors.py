"""What goes wrong with PostgreSQL, translated once, at the edge; the server's words are kept, secrets never are."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from services.runtime.failures import PermanentError, TemporaryError, TidegateError
from services.runtime.postgres.states import PASSING, RETRY_S

REFUSED = ("28P01", "28000")
"""Wrong password; no such user, or none who may connect from here."""


def translate(error: asyncpg.PostgresError, what: str) -> TidegateError:
    """The runtime's name for what a server answered; ``what`` says what was tried, on which database.

    The server's detail is left out: it holds values of rows.
    """
    words = error.args[0] if error.args else type(error).__name__
    text = f"{what}: {' '.join(str(words).split())}"
    if (error.sqlstate or "").startswith(PASSING):
        return TemporaryError(text, delay=RETRY_S)
    return PermanentError(text)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate whatever asyncpg raises inside the block.

    Raises:
        PermanentError: the server refused what was asked; its words are in the text.
        TemporaryError: it does not answer now, or broke off.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise translate(error, what) from error
    except (asyncpg.ClientConfigurationError, ssl.SSLCertVerificationError) as error:
        raise PermanentError(f"{what}: {error}") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        words = str(error) or "no answer in time"
        raise TemporaryError(f"{what}: {' '.join(words.split())}", delay=RETRY_S) from error
