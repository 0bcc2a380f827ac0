"""Ways to read many small objects: the measurements behind docs/decisions/0002."""
