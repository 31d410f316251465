"""One viewer on one connection, whatever the protocol: what it is told is written when it is told.

A stream has no task of its own. A message is framed once per protocol, and the same bytes are given to the transport of
every viewer, in one write for all that is queued. So a viewer costs little more than its socket, and nobody waits for
anybody: where a connection takes no more, messages gather in its viewer's bounded queue.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from stagelight_collector.encoding import encode
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.channel import STATES, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

    from stagelight_collector.rooms.channel import Viewer
    from stagelight_collector.rooms.hub import Hub

WRITE_SECONDS: Final = 20.0
"""A viewer that takes nothing for so long is disconnected."""
QUIET_LOOKS: Final = 15
"""After so many looks, about a second apart, a connection is told that the collector is still there."""


class Wire(Protocol):
    """How messages look on the wire."""

    def frame(self, message: Message) -> bytes:
        """Return a message with its id."""
        ...

    def frame_without_id(self, message: Message) -> bytes:
        """Return a message that nobody may resume after."""
        ...

    def still_here(self) -> bytes:
        """Return what keeps a quiet connection open; empty where the protocol sees to that itself."""
        ...


class End(StrEnum):
    """Why a stream has ended."""

    FINISHED = "finished"
    """Every run that it shows has ended, and all was told."""
    STOPPING = "stopping"
    """The collector goes down."""
    SLOW = "slow"
    """The viewer took nothing for `WRITE_SECONDS`."""
    GONE = "gone"
    """The other side closed the connection."""


@dataclass(slots=True, eq=False)
class Stream:
    """Writes to the connection of a request what its viewer is told."""

    hub: Hub
    viewer: Viewer
    request: web.Request
    wire: Wire
    drain: Callable[[], Awaitable[None]]
    """Returns when the connection takes data again."""
    lasting: bool = False
    """Whether it goes on when all that it shows has ended, because its viewer may ask for more."""
    ended: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    closed: Callable[[], bool] = bool
    """Whether the protocol has said goodbye, after which nothing may be written."""
    _looks: int = 0
    _draining: asyncio.Task[None] | None = None

    def start(self, first: Sequence[Message]) -> None:
        """Write the first messages, and from now on whatever the viewer is told."""
        self.viewer.ready = self._schedule
        self.viewer.look = self._look
        self.write(self._frames(first))
        self._flush()

    async def close(self) -> None:
        """Write no more."""
        self.end(End.GONE)
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])

    def end(self, why: End) -> None:
        """End the stream; only the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)

    def write(self, data: bytes) -> None:
        """Write frames now; nothing where the stream has ended, which it does where the connection has."""
        transport = self.request.transport
        if transport is None or transport.is_closing() or self.closed():
            self.end(End.GONE)
        elif data and not self.ended.done():
            transport.write(data)
            if self.request.protocol.writing_paused and self._draining is None:
                self._draining = asyncio.create_task(self._drain(), name="feed-drain")

    async def until_it_takes_more(self) -> None:
        """Return when nothing waits for the connection to take it."""
        while self._draining is not None:
            await asyncio.wait([self._draining])

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _look(self) -> None:
        self._looks += 1
        transport = self.request.transport
        if transport is None or transport.is_closing():
            self.end(End.GONE)
        elif self.hub.closing and self._draining is not None:
            self.end(End.STOPPING)
        elif self._looks >= QUIET_LOOKS:
            self._looks = 0
            self.write(self.wire.still_here())
        self._flush()

    def _flush(self) -> None:
        """Write what is queued, unless the connection takes nothing for now; then end where there is no more to come."""
        if self._draining is not None or self.ended.done():
            return
        if messages := self._news():
            self._looks = 0
            self.write(self._frames(messages))
        if self.hub.closing:
            self.end(End.STOPPING)
        elif not self.lasting and self.hub.finished(self.viewer.names):
            self.end(End.FINISHED)

    def _news(self) -> list[Message]:
        """Return what came since the last call; everything afresh where the viewer lagged."""
        messages = self.viewer.take()
        if not self.viewer.lagged:
            return messages
        self.viewer.lagged = False
        self.hub.counters.lagged += self.viewer.lags
        self.viewer.lags = 0
        return afresh(self.hub, self.viewer.names)

    def _frames(self, messages: Sequence[Message]) -> bytes:
        if len(messages) == 1:
            return messages[0].framed(self.wire.frame)
        last = len(messages) - 1
        # States that go out together share a number. Only the last carries it: who got a part resumes before it.
        return b"".join(
            self.wire.frame_without_id(message)
            if message.type in STATES and number != last
            else message.framed(self.wire.frame)
            for number, message in enumerate(messages)
        )

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.drain()
        except TimeoutError:
            self.hub.counters.dropped += 1
            self.end(End.SLOW)
        except ConnectionError:
            self.end(End.GONE)
        finally:
            self._draining = None
        self._flush()


def afresh(hub: Hub, names: Sequence[str]) -> list[Message]:
    """Say that there is a gap, and give the whole state."""
    resets = [Message(hub.seq, "reset", encode({"room": name or lobby.NAME})) for name in names]
    return [*resets, *hub.snapshots(names)]


def gone(hub: Hub, name: str) -> Message:
    """Say that nobody knows a room."""
    return Message(hub.seq, "gone", encode({"room": name, "run_id": name}))
