"""What a server's SQLSTATE says about trying again; whichever driver brings it."""

RETRY_S = 15.0
"""A server that restarts or fails over mostly answers again soon after."""
PASSING = ("08", "53", "57P01", "57P02", "57P03", "57P05", "57014", "55P03", "40001", "40P01", "58", "25P03")
"""SQLSTATEs, or the classes they begin with, of what is over after a while: lost connections, exhausted resources,
restarts, timeouts, locks, serialisation, trouble of the server's own system."""
