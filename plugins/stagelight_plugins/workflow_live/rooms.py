"""The rooms: who listens to which workflow, message by message as the article has it.

A socket in the room of an id that no workflow has hears of all workflows: the article's page opens such a room, with a random
id, and expects updates in it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from stagelight_plugins.goodbye import say_goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SOCKETS: Final = 5_000
MAX_TEXT: Final = 64 << 10
QUEUE: Final = 256
"""How many messages wait for one socket before it is closed as too slow."""
QUEUE_CHARACTERS: Final = 16 << 20
"""How long these may be together."""
WRITE_SECONDS: Final = 20.0
"""How long a socket may take nothing before it is closed as too slow."""
HEARTBEAT_SECONDS: Final = 25.0
CLOSE_SECONDS: Final = 1.0
"""How long a socket may take to say goodbye."""


@dataclass(slots=True, eq=False)
class Listener:
    """One socket: what it is told waits in a queue of its own, so that nobody waits for it."""

    socket: web.WebSocketResponse
    request: web.Request
    types: frozenset[str] = frozenset()
    """Empty means all."""
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    waiting: int = 0
    """Characters in the queue."""
    is_slow: bool = False

    def tell(self, kind: str, text: str) -> None:
        """Queue a message; one too many closes the socket."""
        if self.is_slow or (self.types and kind not in self.types):
            return
        if self.queue.full() or self.waiting + len(text) > QUEUE_CHARACTERS:
            self.is_slow = True
            return
        self.waiting += len(text)
        self.queue.put_nowait(text)

    async def write(self) -> None:
        """Send what is queued until the socket is closed, or is too slow."""
        try:
            while not self.is_slow:
                text = await self.queue.get()
                self.waiting -= len(text)
                async with asyncio.timeout(WRITE_SECONDS):
                    await self.socket.send_str(text)
        except TimeoutError:
            self.is_slow = True
        await self.close(WSCloseCode.TRY_AGAIN_LATER, b"too slow")

    async def close(self, code: WSCloseCode, message: bytes) -> None:
        """Close the socket, and say why."""
        await say_goodbye(self.socket, self.request, code=code, message=message)


@dataclass(slots=True)
class Rooms:
    """Sockets by the id of the room that they opened."""

    is_workflow: Callable[[str], bool]
    now: Callable[[], float] = time.time
    dropped: int = 0
    """Sockets that were closed because they were too slow."""
    _rooms: dict[str, set[Listener]] = field(default_factory=dict[str, "set[Listener]"])
    _watching: dict[str, set[Listener]] = field(default_factory=dict[str, "set[Listener]"])
    """Of the rooms, those that were opened for no workflow: what every change is told to."""
    _count: int = 0

    @property
    def count(self) -> int:
        """How many sockets are open."""
        return self._count

    def message(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return a message of now."""
        return {"type": kind, **fields, "timestamp": int(self.now() * 1e3)}

    def tell(self, room: str, kind: str, **fields: Any) -> None:
        """Send a message to all sockets of a room."""
        self._tell(self._rooms.get(room, set()), kind, fields)

    def tell_watchers(self, kind: str, **fields: Any) -> None:
        """Send a message to the sockets in rooms of no workflow."""
        for listeners in self._watching.values():
            self._tell(listeners, kind, fields)

    def _tell(self, listeners: set[Listener], kind: str, fields: dict[str, Any]) -> None:
        if listeners:
            text = json.dumps(self.message(kind, **fields), separators=(",", ":"))
            for listener in listeners:
                listener.tell(kind, text)

    async def open(self, room: str, request: web.Request) -> web.StreamResponse:
        """Take a socket into a room until it is closed."""
        socket = web.WebSocketResponse(
            compress=False, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_TEXT, timeout=CLOSE_SECONDS
        )
        await socket.prepare(request)
        listener = Listener(socket, request)
        if self._count >= MAX_SOCKETS:
            await listener.close(WSCloseCode.TRY_AGAIN_LATER, b"no place")
            return socket
        listeners = self._rooms.setdefault(room, set())
        listeners.add(listener)
        if not self.is_workflow(room):
            self._watching[room] = listeners
        self._count += 1
        writer = asyncio.create_task(listener.write(), name="workflow-live-socket")
        try:
            listener.tell("connected", json.dumps(self.message("connected", workflowId=room)))
            await self._hear(listener)
        finally:
            if listener.is_slow:  # it says goodbye, in bounded time
                await asyncio.wait([writer])
            writer.cancel()
            await asyncio.wait([writer])
            self.dropped += listener.is_slow
            self._count -= 1
            listeners.discard(listener)
            if not listeners:
                self._rooms.pop(room, None)
                self._watching.pop(room, None)
        return socket

    async def _hear(self, listener: Listener) -> None:
        async for message in listener.socket:
            if message.type is not WSMsgType.TEXT:
                answer: dict[str, Any] = {"error": "Invalid message format"}
            else:
                answer = self._answer(listener, message.data)
            if answer:
                listener.tell("", json.dumps(answer))

    def _answer(self, listener: Listener, text: str) -> dict[str, Any]:
        try:
            command: Any = json.loads(text)
        except (ValueError, RecursionError):
            return {"error": "Invalid message format"}
        match command:
            case {"type": "ping"}:
                return self.message("pong")
            case {"type": "subscribe"}:
                return self._subscribe(listener, command.get("events"))
            case _:
                return {"error": "Unknown message type"}

    def _subscribe(self, listener: Listener, events: Any) -> dict[str, Any]:
        """Let a socket have only some types of messages; all of them where it names none. Nothing is answered."""
        match events:
            case None:
                listener.types = frozenset()
            case [*kinds] if all(isinstance(kind, str) for kind in kinds):
                listener.types = frozenset(kinds) | {""}
            case _:
                return {"error": "Invalid message format"}
        return {}

    async def start(self) -> None:
        """Do nothing: sockets come by a route."""

    async def stop(self) -> None:
        """Close every socket: the collector goes down."""
        everybody = [listener for listeners in self._rooms.values() for listener in listeners]
        closing = [listener.close(WSCloseCode.SERVICE_RESTART, b"restarting") for listener in everybody]
        await asyncio.gather(*closing, return_exceptions=True)
