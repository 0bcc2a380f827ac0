"""The fetcher: one range of a source → one raw object."""
