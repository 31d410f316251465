"""Server-sent events: a snapshot of each room, then every message after it, resumable by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector.api.problem import Problem
from stagelight_collector.encoding import encode
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.channel import Message
from stagelight_collector.rooms.hub import LOBBY, TooManyViewers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.rooms.channel import Viewer
    from stagelight_collector.rooms.hub import Hub

COMMENT_SECONDS: Final = 15.0
"""A comment keeps the connection open through proxies."""
LOOK_SECONDS: Final = 1.0
"""How often a stream looks whether its runs have finished."""
WRITE_SECONDS: Final = 20.0
"""A viewer that takes nothing for so long is disconnected."""
RETRY_MS: Final = 1_000
MAX_ROOMS: Final = 16
"""Rooms on one stream."""

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


@dataclass(slots=True)
class Feed:
    """The routes of the feed."""

    hub: Hub

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/feed", self.several, allow_head=False),
            web.get("/api/v1/runs/{id:[^/]+}/feed", self.one, allow_head=False),
        ]

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Stream one run's room; 404 if nobody knows the run."""
        run_id = request.match_info["id"]
        async with self.hub.holding([run_id]) as known:
            if not known:
                raise Problem(404, f"There is no run {run_id!r}.", "GET /api/v1/runs lists the runs.")
            visit = self._visit(request, known, [])
        return await self._stream(request, visit)

    async def several(self, request: web.Request) -> web.StreamResponse:
        """Stream the rooms named by `room`; a room that nobody knows is answered with `gone`."""
        asked = list(dict.fromkeys(request.query.getall("room", [lobby.NAME])))
        if len(asked) > MAX_ROOMS:
            raise Problem(400, f"{len(asked)} rooms on one stream.", f"At most {MAX_ROOMS} are possible.")
        names = [LOBBY if name == lobby.NAME else name for name in asked]
        async with self.hub.holding(names) as known:
            visit = self._visit(request, known, [name for name in names if name not in known])
        return await self._stream(request, visit)

    def _visit(self, request: web.Request, names: list[str], unknown: list[str]) -> _Visit | None:
        """Let a viewer in; None where all has been told. Nothing is awaited here, so nothing comes in between."""
        hub = self.hub
        last_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
        types = frozenset(filter(None, request.query.get("types", "").split(",")))
        try:
            viewer = hub.join(names, types)
        except TooManyViewers as error:
            raise Problem(503, str(error), "Try again.", retry_after=5) from error
        missed = hub.missed(names, last_id) if last_id else None
        if missed is not None:
            first = [message for message in missed if viewer.wants(message)]
            if not first and hub.finished(names):
                hub.leave(viewer, names)
                return None
        else:
            first = _afresh(hub, names) if last_id else hub.snapshots(names)
            first += [Message(hub.seq, "gone", encode({"room": name, "run_id": name})) for name in unknown]
        return _Visit(viewer, names, first)

    async def _stream(self, request: web.Request, visit: _Visit | None) -> web.StreamResponse:
        if visit is None:
            return web.Response(status=204)
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await response.prepare(request)
            await self._pump(_Line(request, response, self.hub.epoch), visit)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.hub.leave(visit.viewer, visit.names)
        return response

    async def _pump(self, line: _Line, visit: _Visit) -> None:
        hub = self.hub
        await line.write(f"retry: {RETRY_MS}\n\n".encode())
        await line.send(visit.first)
        visit.first = []
        quiet = 0.0
        while not (hub.closing or hub.finished(visit.names) or line.gone):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await visit.viewer.wait()
                quiet = 0.0
            except TimeoutError:
                quiet += LOOK_SECONDS
                if quiet >= COMMENT_SECONDS:
                    quiet = 0.0
                    await line.write(b": still here\n\n")
                continue
            await line.send(visit.news(hub))
        await line.send(visit.news(hub))


@dataclass(slots=True)
class _Visit:
    """One viewer on one stream."""

    viewer: Viewer
    names: list[str]
    first: list[Message]

    def news(self, hub: Hub) -> list[Message]:
        """Return what came since the last call; everything afresh where the viewer lagged."""
        messages = self.viewer.take()
        if not self.viewer.lagged:
            return messages
        self.viewer.lagged = False
        return _afresh(hub, self.names)


def _afresh(hub: Hub, names: Sequence[str]) -> list[Message]:
    """Say that there is a gap, and give the whole state."""
    resets = [Message(hub.seq, "reset", encode({"room": name or lobby.NAME})) for name in names]
    return [*resets, *hub.snapshots(names)]


@dataclass(slots=True)
class _Line:
    """The connection to one browser."""

    request: web.Request
    response: web.StreamResponse
    epoch: str

    @property
    def gone(self) -> bool:
        """Whether the other side has closed the connection; a write would tell only later."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    async def send(self, messages: Sequence[Message]) -> None:
        if messages:
            last = messages[-1]
            await self.write(b"".join(self._frame(message, message is last) for message in messages))

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self.response.write(data)

    def _frame(self, message: Message, last: bool) -> bytes:
        # Snapshots that go out together share a number. Only the last carries it: who got a part resumes before it.
        known = last or message.type not in _TOGETHER
        head = f"id: {self.epoch}-{message.seq}\n" if known else ""
        return b"%bevent: %b\ndata: %b\n\n" % (head.encode(), message.type.encode(), message.data)


_TOGETHER: Final = frozenset({"snapshot", "reset", "gone"})
