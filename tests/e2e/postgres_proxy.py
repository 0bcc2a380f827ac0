"""A proxy between one worker and PostgreSQL that can hold a statement, lose its answer or cut the connection.

It reads no protocol: what passes is looked through for the words of statements, which travel as they are written.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.postgres_support import HOST

PATIENCE_S = 40.0
CHUNK = 65_536


@dataclass
class Break:
    """What happens to the first message with these words, on a connection that has seen ``after`` before.

    ``hold``: wait for ``release``, then pass it on. ``lose``: pass it on, and cut the connection before any answer.
    ``cut``: cut the connection instead.
    """

    action: Literal["hold", "lose", "cut"]
    words: bytes
    after: bytes = b""
    taken: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def happens(self) -> None:
        """Wait until it has happened, or what is held has arrived."""
        await asyncio.wait_for(self.reached.wait(), PATIENCE_S)

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    async def wait(self) -> None:
        """Until it is released."""
        await self._released.wait()


class PostgresProxy:
    """Async context manager; ``secret`` is a connection secret that leads through it."""

    def __init__(self, secret: str) -> None:
        self._document = json.loads(secret)
        self._breaks: list[Break] = []
        self._passing: set[asyncio.Task[None]] = set()

    def breaks(self, action: Literal["hold", "lose", "cut"], words: str, *, after: str = "") -> Break:
        """Add one; the first that fits a message takes it, once."""
        one = Break(action, words.encode(), after.encode())
        self._breaks.append(one)
        return one

    @property
    def secret(self) -> str:
        """The secret with the proxy's address."""
        port = self._server.sockets[0].getsockname()[1]
        return json.dumps(self._document | {"host": HOST, "port": port})

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in self._breaks:
            each.release()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(self._document["host"], self._document["port"])
        answers = asyncio.create_task(_pass_on(upstream_reader, writer))
        questions = asyncio.create_task(self._pass_questions(reader, upstream, answers))
        for task in (answers, questions):
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)
        await asyncio.wait({answers, questions}, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, upstream):
            end.close()

    async def _pass_questions(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, answers: "asyncio.Task[None]"
    ) -> None:
        seen = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                seen += data
                found = next((b for b in self._breaks if not b.taken and b.words in data and b.after in seen), None)
                if found is None:
                    upstream.write(data)
                    await upstream.drain()
                    continue
                found.taken = True
                if found.action == "lose":
                    answers.cancel()
                    upstream.write(data)
                    await upstream.drain()
                if found.action != "hold":
                    found.reached.set()
                    return
                found.reached.set()
                await found.wait()
                upstream.write(data)
                await upstream.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
