"""Inputs for the demo, the end-to-end tests and the benchmarks, generated from a seed."""
