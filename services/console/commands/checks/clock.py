"""This machine's clock against the endpoint's."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from services.console.commands.checks.findings import OK, Finding, Verdict, failed, line, unchecked, warned
from services.console.commands.checks.world import World
from services.runtime.aws.errors import translated

WARN_S = 5.0
"""Leases of 60 s with the usual trust of 0.8 bear 12 s between two clocks."""
REFUSE_S = 300.0
"""AWS refuses signatures that are this much off."""


async def check_clock(world: World) -> list[Finding]:
    """Ask the endpoint for the time.

    Raises:
        UnreachableError: it does not answer at all, so nothing else would.
        AccessDeniedError: there are no credentials, or they are wrong.
    """
    with translated("ask the endpoint for the time"):
        answer = await world.clients.sqs.list_queues(MaxResults=1)
    header = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return [line("clock", judge(header, datetime.now(UTC)))]


def judge(header: str | None, now: datetime) -> Verdict:
    """Compare an HTTP Date header, which has whole seconds, with ``now``."""
    if header is None:
        return unchecked("the endpoint's answers have no Date header")
    try:
        theirs = parsedate_to_datetime(header)
    except ValueError:
        return unchecked(f"the endpoint's Date header is no date: {header!r}")
    skew = (now - theirs.astimezone(UTC)).total_seconds()
    off = abs(skew) - 1
    if off <= WARN_S:
        return OK
    found = f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the endpoint's"
    todo = "let NTP set it: leases compare clocks, and AWS refuses signatures that are 5 minutes off"
    return failed(found, todo) if off >= REFUSE_S else warned(found, todo)
