"""What a chunk worker decides: pure functions of values."""
