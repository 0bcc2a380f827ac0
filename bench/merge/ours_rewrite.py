"""Ours, the rewrite strategy: what small checkpoints get."""

import pyarrow as pa

from bench.merge.job import carry_out
from bench.merge.ours import Ours
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.rewrite import Rewrite
from services.merger.ports import MergeStrategy


class OursRewritten(Ours):
    """The merger's rewrite strategy."""

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self.merge(rows)

    def chosen(self, stores: Stores) -> MergeStrategy:
        """The strategy."""
        return Rewrite(stores.objects)


if __name__ == "__main__":
    carry_out(OursRewritten)
