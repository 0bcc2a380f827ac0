"""Names of tables and columns in SQL text. Values never are text: they travel as parameters."""

from services.runtime.failures import PermanentError


def quoted(identifier: str) -> str:
    """An identifier as SQL reads it, whatever is in it.

    Raises:
        PermanentError: it is empty or holds a NUL, which no identifier can.
    """
    if not identifier or "\0" in identifier:
        raise PermanentError(f"{identifier!r} cannot be the name of anything in PostgreSQL")
    return '"' + identifier.replace('"', '""') + '"'


def qualified(schema: str, table: str) -> str:
    """A table's name with its schema, as SQL reads it.

    Raises:
        PermanentError: one of them is empty or holds a NUL.
    """
    return f"{quoted(schema)}.{quoted(table)}"
