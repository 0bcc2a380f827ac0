"""A stand-in for the X-Ray daemon, and for the clock that times what it is sent."""

import json
from dataclasses import dataclass, field
from typing import Any

from services.runtime.aws.xray import HEADER, XrayRecorder


@dataclass
class FakeDaemon:
    """Keeps the documents it is sent, and refuses what the real one would not understand."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    _ticks: float = 0.0

    def __call__(self, datagram: bytes) -> None:
        """Take one datagram: a line that says what follows, and one document."""
        head, _, body = datagram.partition(b"\n")
        assert json.loads(head) == {"format": "json", "version": 1}
        assert datagram.startswith(HEADER)
        document = json.loads(body)
        assert {"name", "id", "trace_id", "start_time", "end_time"} <= document.keys()
        self.documents.append(document)

    def seconds(self) -> float:
        """A second later each time somebody asks."""
        self._ticks += 1
        return self._ticks

    def recorder(self, service: str = "merger", *, in_lambda: bool = True) -> XrayRecorder:
        """A recorder that sends here."""
        return XrayRecorder(service, self, in_lambda=in_lambda, seconds=self.seconds)

    @property
    def segments(self) -> list[tuple[str, ...]]:
        """The path of each subsegment (outer, inner), in the order in which they began."""
        blocks = sorted((d for d in self.documents if d.get("type") == "subsegment"), key=lambda d: d["start_time"])
        by_id = {block["id"]: block for block in blocks}
        return [self._path(block, by_id) for block in blocks]

    def _path(self, block: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> tuple[str, ...]:
        parent = by_id.get(block["parent_id"])
        return (*(() if parent is None else self._path(parent, by_id)), block["name"])
