"""What the planner decides; pure, with the time as an argument."""
