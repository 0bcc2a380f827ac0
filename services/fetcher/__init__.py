"""The fetcher: one segment of an API or a database → one raw object. It arrives with the first such source."""
