"""What the planner does: plan a run, dispatch it, and sweep up what was left lying."""
