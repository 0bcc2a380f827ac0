"""State machines that wait for answers, in memory."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from contracts.envelope import Json
from services.chunk_worker.adapters.answers import OUTPUT_BYTES, as_told
from services.runtime.failures import PermanentError
from tests.fakes.effects import Effects


class FakeAnswers:
    """``Answers``: each of the ``waiting`` tokens takes one answer, and is not waiting any more.

    ``told`` is every answer that was taken: ("succeeded", result), or ("failed", error, cause).
    """

    def __init__(self, waiting: Iterable[str] = (), *, effects: Effects | None = None) -> None:
        self.waiting = set(waiting)
        self.told: dict[str, tuple[Any, ...]] = {}
        self.beats: Counter[str] = Counter()
        self.effects = effects or Effects()

    def seen_by(self, effects: Effects) -> "FakeAnswers":
        """The same state machines as another process reaches them."""
        other = FakeAnswers(effects=effects)
        other.waiting, other.told, other.beats = self.waiting, self.told, self.beats
        return other

    async def succeed(self, token: str, result: Json) -> bool:
        """See the port."""
        if len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()) > OUTPUT_BYTES:
            raise PermanentError(f"the result for the state machine has more than {OUTPUT_BYTES:,} bytes")
        return await self.effects.perform("answer succeeded", lambda: self._take(token, ("succeeded", result)))

    async def fail(self, token: str, error: str, cause: str) -> bool:
        """See the port."""
        error, cause = as_told(error, cause)
        return await self.effects.perform("answer failed", lambda: self._take(token, ("failed", error, cause)))

    async def heartbeat(self, token: str) -> bool:
        """See the port."""

        def note() -> bool:
            self.beats[token] += 1
            return token in self.waiting

        return await self.effects.perform("heartbeat", note)

    def _take(self, token: str, answer: tuple[Any, ...]) -> bool:
        if token not in self.waiting:
            return False
        self.waiting.remove(token)
        self.told[token] = answer
        return True
