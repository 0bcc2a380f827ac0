"""The planner: a schedule or a request → a plan: which segments, up to which frontier."""
