"""Which strategy merges a checkpoint."""

import pyarrow as pa

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.strategy import USUAL, Append, Sizes
from services.merger.adapters.rewrite import Rewrite
from services.merger.core.append import is_worth_appending
from services.merger.ports import MergeStrategy, Prepared
from services.runtime.objects import ObjectInfo


class BySize:
    """Rewrites small checkpoints and appends to large ones: from ``append_from`` bytes on, 0 for all of them."""

    name = "by size"

    def __init__(self, stores: Stores, *, append_from: int, sizes: Sizes = USUAL) -> None:
        self._append_from = append_from
        self._rewrite = Rewrite(stores.objects)
        self._append = Append(stores, sizes)

    async def prepare(
        self, destination: Destination, pipeline: Pipeline, base: ObjectInfo | None, rows: pa.Table, commit_id: str
    ) -> Prepared:
        """See the port."""
        chosen = self._chosen(pipeline, base)
        return await chosen.prepare(destination, pipeline, base, rows, commit_id)

    async def prepare_restored(
        self,
        destination: Destination,
        pipeline: Pipeline,
        base: ObjectInfo | None,
        earlier: str | None,
        commit_id: str,
        without: pa.ChunkedArray | None = None,
    ) -> Prepared:
        """See the port. A version that was laid out to be appended to was large, whatever is there now."""
        chosen = self._append if self._may_append(pipeline, self._append_from) else self._rewrite
        return await chosen.prepare_restored(destination, pipeline, base, earlier, commit_id, without)

    def _chosen(self, pipeline: Pipeline, base: ObjectInfo | None) -> MergeStrategy:
        return self._append if self._may_append(pipeline, 0 if base is None else base.size) else self._rewrite

    def _may_append(self, pipeline: Pipeline, size: int) -> bool:
        return is_worth_appending(
            size, self._append_from, is_ordered_by_integers=Layout.of(pipeline).is_ordered_by_integers
        )
