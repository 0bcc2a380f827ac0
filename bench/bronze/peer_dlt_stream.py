"""dlt that streams: ConnectorX in batches."""

from functools import partial

from bench.bronze.job import carry_out
from bench.bronze.peer_dlt import land

STREAM = {"return_type": "arrow_stream", "batch_size": 100_000}

if __name__ == "__main__":
    carry_out(partial(land, backend_kwargs=STREAM))
