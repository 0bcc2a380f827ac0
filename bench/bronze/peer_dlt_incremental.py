"""dlt that reads what is new by its cursor, as its documentation begins with."""

from functools import partial

from bench.bronze.job import carry_out
from bench.bronze.peer_dlt import land

if __name__ == "__main__":
    carry_out(partial(land, incremental={}))
