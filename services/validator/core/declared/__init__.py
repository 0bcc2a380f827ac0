"""Judging rows whose columns a pipeline declares: a plain reference, and a fast path that it must agree with."""
