"""``tidegate``: the operator's commands.

Exit codes: 0 done, 1 a failed run or check, 2 wrong usage. Errors are one line on standard error; ``--debug`` shows
the traceback.
"""

import sys

import typer

from services.console.commands import (
    action,
    catalog,
    checkpoint,
    demo,
    dlq,
    doctor,
    export,
    local,
    plan,
    put,
    quarantine,
    query,
    run,
    status,
    wait,
    watermark,
)
from services.console.output import note
from services.runtime.failures import BadDeclarationError, TidegateError

app = typer.Typer(
    name="tidegate",
    help="Event-driven incremental ingestion, with a ledger that proves no row was lost or doubled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (local, watermark, checkpoint, quarantine, dlq):
    app.add_typer(group.app)
for module in (demo, put, plan, run, wait, status, action, export, query, catalog, doctor):
    module.register(app)

DEBUG = "--debug"
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    debug = DEBUG in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    try:
        app(args=arguments)
    except KeyboardInterrupt:
        note("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:  # the one place where an error becomes an exit code
        if debug:
            raise
        first = _first(error)
        ours = isinstance(first, TidegateError)
        note(f"error: {first}" if ours else f"internal error: {first!r} (--debug shows where)")
        sys.exit(WRONG_USAGE if isinstance(first, BadDeclarationError) else FAILED)


def _first(error: BaseException) -> BaseException:
    """The first real error inside the groups that concurrent work raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
