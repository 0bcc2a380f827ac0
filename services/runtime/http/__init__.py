"""What sources that are asked over HTTP share: one question, its whole answer, and asking again until there is one."""
