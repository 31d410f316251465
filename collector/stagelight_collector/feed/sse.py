"""Server-sent events: a snapshot of each room, then every message after it, resumable by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector.api.problem import Problem
from stagelight_collector.encoding import encode
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
            web.get("/api/v1/runs/{id}/feed", self.one, allow_head=False),
        ]

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Stream one run's room; 404 if nobody knows the run."""
        run_id = request.match_info["id"]
        if await self.hub.find(run_id) is None:
            raise Problem(404, f"There is no run {run_id!r}.", "GET /api/v1/runs lists the runs.")
        return await self._stream(request, [run_id], [])

    async def several(self, request: web.Request) -> web.StreamResponse:
        """Stream the rooms named by `room`; a room that nobody knows is answered with `gone`."""
        names = list(dict.fromkeys(request.query.getall("room", [LOBBY])))
        if len(names) > MAX_ROOMS:
            raise Problem(400, f"{len(names)} rooms on one stream.", f"At most {MAX_ROOMS} are possible.")
        known = [name for name in names if name == LOBBY or await self.hub.find(name) is not None]
        return await self._stream(request, known, [name for name in names if name not in known])

    async def _stream(self, request: web.Request, names: list[str], unknown: list[str]) -> web.StreamResponse:
        hub = self.hub
        last_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
        missed = hub.missed(names, last_id) if last_id else None
        if missed == [] and not unknown and hub.finished(names):
            return web.Response(status=204)
        response = web.StreamResponse(headers=_HEADERS)
        types = frozenset(filter(None, request.query.get("types", "").split(",")))
        try:
            viewer = hub.join(names, types)
        except TooManyViewers as error:
            raise Problem(503, str(error), "Try again.", retry_after=5) from error
        # From here to the snapshot nothing is awaited: what comes after it is in the viewer's queue.
        first = hub.snapshots(names) if missed is None else [m for m in missed if viewer.wants(m)]
        first += [Message(hub.seq, "gone", encode({"room": n, "run_id": n})) for n in unknown]
        try:
            await response.prepare(request)
            await self._pump(_Line(response, hub.epoch), viewer, names, first)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            hub.leave(viewer, names)
        return response

    async def _pump(self, line: _Line, viewer: Viewer, names: list[str], first: list[Message]) -> None:
        hub = self.hub
        await line.write(f"retry: {RETRY_MS}\n\n".encode())
        await line.send(first)
        quiet = 0.0
        while not (hub.closing or hub.finished(names)):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await viewer.wait()
                quiet = 0.0
            except TimeoutError:
                quiet += LOOK_SECONDS
                if quiet >= COMMENT_SECONDS:
                    quiet = 0.0
                    await line.write(b": still here\n\n")
                continue
            messages = viewer.take()
            if viewer.lagged:
                viewer.lagged = False
                resets = [Message(hub.seq, "reset", encode({"room": name})) for name in names]
                messages = [*resets, *hub.snapshots(names)]
            await line.send(messages)
        await line.send(viewer.take())


@dataclass(slots=True)
class _Line:
    """The connection to one browser."""

    response: web.StreamResponse
    epoch: str

    async def send(self, messages: Sequence[Message]) -> None:
        if messages:
            await self.write(b"".join(map(self._frame, messages)))

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self.response.write(data)

    def _frame(self, message: Message) -> bytes:
        head = f"id: {self.epoch}-{message.seq}\nevent: {message.type}\ndata: "
        return b"%b%b\n\n" % (head.encode(), message.data)
