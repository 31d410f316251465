"""WebSocket: the messages of the feed as JSON texts, and rooms that are chosen while the connection is open.

The collector sends `{"id", "event", "data"}`. A client may send `{"type": "ping"}`, `{"type": "subscribe", "rooms": […],
"types": […]}` and `{"type": "unsubscribe", "rooms": […]}`. Close codes (RFC 6455, section 7.4, and the registry): 1000 all
was told, 1008 too much that cannot be understood, 1009 too long a text, 1012 the collector goes down, 1013 no place, or
too slow.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from stagelight_collector.api.problem import Problem
from stagelight_collector.encoding import encode
from stagelight_collector.feed import admission
from stagelight_collector.feed.admission import MAX_ROOMS, room_names
from stagelight_collector.feed.stream import End, Stream, gone
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.channel import Message
from stagelight_collector.rooms.limits import TooManyViewers
from stagelight_plugins.goodbye import say_goodbye
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight_collector.feed.admission import Admission
    from stagelight_collector.rooms.channel import Viewer
    from stagelight_collector.rooms.hub import Hub

HEARTBEAT_SECONDS: Final = 25.0
"""A viewer that answers no ping for half as long has gone."""
MAX_TEXT: Final = 64 << 10
MAX_MISTAKES: Final = 20
"""So many texts that cannot be understood end the connection."""
CLOSE_SECONDS: Final = 2.0

_CODES: Final = {
    End.FINISHED: (WSCloseCode.OK, b"the run has ended and all was told"),
    End.STOPPING: (WSCloseCode.SERVICE_RESTART, b"the collector goes down; connect again in a while"),
    End.SLOW: (WSCloseCode.TRY_AGAIN_LATER, b"too slow: nothing was taken for a while"),
}


class Misunderstood(Exception):
    """A command cannot be obeyed; the message says what can."""


class Ping(BaseModel):
    """Asks whether anybody is there."""

    type: Literal["ping"]


class Subscribe(BaseModel):
    """Asks for more rooms, and for other types of events in all of them."""

    type: Literal["subscribe"]
    rooms: list[str] = Field(max_length=MAX_ROOMS)
    types: list[str] | None = None


class Unsubscribe(BaseModel):
    """Asks for no more of these rooms."""

    type: Literal["unsubscribe"]
    rooms: list[str]


Command = Ping | Subscribe | Unsubscribe
_COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="type")])


@dataclass(slots=True)
class SocketFeed:
    """The routes of the feed over WebSocket."""

    hub: Hub
    now: Callable[[], float] = time.time
    wire: Frames = field(init=False)

    def __post_init__(self) -> None:
        self.wire = Frames(self.hub.stamp)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/ws", self.several, allow_head=False),
            web.get("/api/v1/runs/{id:[^/]+}/ws", self.one, allow_head=False),
        ]

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Show one run until it has ended; 404 if nobody knows it."""
        if "speed" in request.query:
            raise Problem(
                400, "A replay is told as server-sent events.", "GET …/feed?speed=… replays this run."
            )
        entering = admission.to_one(self.hub, request, _last_id(request))
        return await self._serve(request, entering, lasting=False)

    async def several(self, request: web.Request) -> web.StreamResponse:
        """Show the rooms named by `room`, then those that the client subscribes to."""
        entering = admission.to_several(self.hub, request, _last_id(request))
        return await self._serve(request, entering, lasting=True)

    async def _serve(
        self, request: web.Request, entering: Awaitable[Admission], *, lasting: bool
    ) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            compress=False, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_TEXT, timeout=CLOSE_SECONDS
        )
        try:
            admitted = await entering
        except TooManyViewers as error:
            _check(socket, request)
            await socket.prepare(request)
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=str(error).encode())
            return socket
        viewer = admitted.viewer
        try:
            _check(socket, request)
            writer = await socket.prepare(request)
            stream = Stream(self.hub, viewer, request, self.wire, writer.drain, lasting=lasting)
            stream.closed = lambda: socket.closed
            await _Talk(self, socket, stream, viewer).hold(admitted.first)
        finally:
            self.hub.leave(viewer)
        return socket


def _last_id(request: web.Request) -> str:
    return request.query.get("last_event_id", "")


def _known_types(types: Sequence[str]) -> frozenset[str]:
    try:
        return admission.known_types(types)
    except Problem as problem:
        raise Misunderstood(f"{problem.detail} {problem.remedy}") from problem


def _check(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Refuse what is no WebSocket."""
    if not socket.can_prepare(request).ok:
        raise Problem(
            426,
            "This is a WebSocket.",
            "The same as server-sent events: …/feed.",
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},  # RFC 9110, section 15.5.22
        )


@dataclass(slots=True)
class _Talk:
    """One open connection: the stream writes, this reads."""

    feed: SocketFeed
    socket: web.WebSocketResponse
    stream: Stream
    viewer: Viewer
    mistakes: int = 0

    async def hold(self, first: Sequence[Message] | None) -> None:
        """Read until one side closes."""
        if first is None:
            self.stream.end(End.FINISHED)
        else:
            self.stream.start(first)
        closing = asyncio.ensure_future(self._close_at_the_end())
        try:
            async for message in self.socket:
                await self.stream.until_it_takes_more()
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    await self._hear(message.data)
        except ConnectionError:
            pass  # it has gone
        finally:
            await self.stream.close()
            await closing

    async def _close_at_the_end(self) -> None:
        why = await self.stream.ended
        if why in _CODES and not self.socket.closed:
            code, reason = _CODES[why]
            await say_goodbye(self.socket, self.stream.request, code=code, message=reason)
        elif why == End.GONE and self.stream.request.transport is not None:
            self.stream.request.transport.abort()

    async def _hear(self, text: str | bytes) -> None:
        try:
            await self._obey(_COMMAND.validate_json(text))
        except (ValidationError, Misunderstood) as error:
            self.mistakes += 1
            self._say("error", {"title": str(error) if isinstance(error, Misunderstood) else _explain(error)})
            if self.mistakes >= MAX_MISTAKES:
                await say_goodbye(
                    self.socket,
                    self.stream.request,
                    code=WSCloseCode.POLICY_VIOLATION,
                    message=b"too many mistakes",
                )

    async def _obey(self, command: Command) -> None:
        match command:
            case Ping():
                self._say("pong", {"time_ms": self.feed.now() * 1e3})
            case Subscribe():
                await self._subscribe(command)
            case Unsubscribe():
                self.feed.hub.quit(self.viewer, room_names(command.rooms))
                # In no room it waits for another one; no run has ended.
                self.stream.lasting |= not self.viewer.names
                self._subscribed()

    async def _subscribe(self, command: Subscribe) -> None:
        hub, viewer = self.feed.hub, self.viewer
        wanted = [name for name in room_names(command.rooms) if name not in viewer.names]
        if len(viewer.names) + len(wanted) > MAX_ROOMS:
            raise Misunderstood(
                f"at most {MAX_ROOMS} rooms are possible on one connection; unsubscribe from some"
            )
        if command.types is not None:
            viewer.types = _known_types(command.types)
        self.stream.lasting = True
        async with hub.holding(wanted) as known:
            hub.enter(viewer, known)
            self._subscribed()
            # Through the queue, so that they come after what happened before them.
            for message in hub.snapshots(known):
                viewer.push(message)
            for name in wanted:
                if name not in known:
                    viewer.push(gone(hub, name))

    def _subscribed(self) -> None:
        hub = self.feed.hub
        rooms = [name or lobby.NAME for name in self.viewer.names]
        self.viewer.push(Message(hub.seq, "subscribed", encode({"rooms": rooms})))

    def _say(self, kind: str, data: dict[str, Any]) -> None:
        self.stream.write(self.feed.wire.frame_without_id(Message(0, kind, encode(data))))


def _explain(error: ValidationError) -> str:
    return (
        f"not understood ({first_problem(error)}): send "
        '{"type": "ping"}, or {"type": "subscribe", "rooms": [run ids or "lobby"], "types": [optional]}, or '
        '{"type": "unsubscribe", "rooms": […]}'
    )


@dataclass(slots=True)
class Frames:
    """Messages as WebSocket texts (RFC 6455, section 5.2): whole, neither masked nor compressed."""

    epoch: Callable[[], str]

    def frame(self, message: Message) -> bytes:
        """Return a message with its id."""
        return _frame(
            b'{"id":"%b-%d","event":%b,"data":%b}'
            % (self.epoch().encode(), message.seq, encode(message.type), message.data)
        )

    def frame_without_id(self, message: Message) -> bytes:
        """Return a message that nobody may resume after."""
        return _frame(b'{"event":%b,"data":%b}' % (encode(message.type), message.data))

    def still_here(self) -> bytes:
        """Return nothing: the protocol has pings."""
        return b""


def _frame(text: bytes) -> bytes:
    size = len(text)
    if size < 126:
        return struct.pack("!BB", _TEXT, size) + text
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + text
    return struct.pack("!BBQ", _TEXT, 127, size) + text


_TEXT: Final = 0x80 | WSMsgType.TEXT
"""A final frame of text."""
