"""The outbox: what has yet to reach the stream, in order and bounded.

While the other side takes nothing, letters gather; past the bound new ones are lost, counted and announced. While it
takes them slowly, whoever has more waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LETTERS: Final = 20_000
LETTERS_BYTES: Final = 64 << 20
"""How much waits; both hold."""
CHUNK: Final = 256
"""How many letters are on their way at once."""
RETRY_SECONDS: Final = 0.25


class NotTaken(Exception):
    """The other side did not take all of what was sent; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to the stream."""

    subject: str
    data: bytes
    id: str = ""
    """The same for the same fact: the stream takes it once. Empty where each is another."""


@dataclass(slots=True, eq=False)
class Outbox:
    """Sends letters one chunk after the other, each again until it is taken."""

    send: Callable[[Sequence[Letter]], Awaitable[None]]
    """Returns when all are taken.

    Raises:
        NotTaken: They are not.
    """
    capacity: int = LETTERS
    clock: Callable[[], float] = time.monotonic
    stalled: str = ""
    """Why nothing is taken at the moment; empty while all is well."""
    sent: int = 0
    lost: int = 0
    lost_seq: int = 0
    """The latest batch of which something was lost."""
    lost_at: float = 0.0
    _bytes: int = 0
    _letters: deque[Letter] = field(default_factory=deque[Letter])
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __len__(self) -> int:
        return len(self._letters)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._letters) >= self.capacity or self._bytes >= LETTERS_BYTES

    async def put(self, letters: Sequence[Letter], seq: int = 0) -> None:
        """Take the letters of a batch; wait while they are taken slowly, lose them while they are not taken at all."""
        for letter in letters:
            if self.full and not self.stalled:
                async with self._room:
                    await self._room.wait_for(lambda: self.stalled or not self.full)
            if self.full:
                self.lose(seq)
            else:
                self._letters.append(letter)
                self._bytes += len(letter.data)
                self._news.set()

    def lose(self, seq: int) -> None:
        """Note a letter that will never be sent."""
        self.lost += 1
        self.lost_seq = max(self.lost_seq, seq)
        self.lost_at = self.clock()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._news.wait()
            chunk = list(islice(self._letters, CHUNK))
            try:
                await self.send(chunk)
            except NotTaken as error:
                self.stalled = str(error)
                await self._tell()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.stalled = ""
            await self._done(len(chunk))

    async def _done(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._letters.popleft().data)
        self.sent += count
        if not self._letters:
            self._news.clear()
        await self._tell()

    async def _tell(self) -> None:
        async with self._room:
            self._room.notify_all()

    async def drain(self) -> None:
        """Return when nothing waits."""
        async with self._room:
            await self._room.wait_for(lambda: not self._letters)
