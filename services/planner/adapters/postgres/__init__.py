"""Tables of PostgreSQL as the planner sees them: columns, a ceiling, slices."""
