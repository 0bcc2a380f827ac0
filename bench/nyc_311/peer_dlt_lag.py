"""dlt with an attribution window of 48 hours, as its documentation advises where rows come late."""

from functools import partial

from bench.nyc_311.job import carry_out
from bench.nyc_311.peer_dlt import collect

LAG_S = 48 * 3600.0

if __name__ == "__main__":
    carry_out(partial(collect, lag_s=LAG_S))
