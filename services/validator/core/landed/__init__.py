"""Raw objects of entities: proving typed rows, and judging records into rows."""
