"""dlt that reads its cursor's last minutes again, as its documentation advises where rows come late."""

from functools import partial

from bench.bronze.job import carry_out
from bench.bronze.peer_dlt import land

LAG_S = 600.0

if __name__ == "__main__":
    carry_out(partial(land, incremental={"lag": LAG_S}))
