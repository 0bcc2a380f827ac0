"""The port ``datasets`` over Socrata's query API (SODA 2.x): queries, answers, retries, and the client over them."""
