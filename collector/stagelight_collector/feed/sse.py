"""Server-sent events: a snapshot of each room, then every message after it, resumable by `Last-Event-ID`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from stagelight_collector.api.problem import Problem
from stagelight_collector.feed import admission
from stagelight_collector.feed.admission import last_event_id
from stagelight_collector.feed.replay import Replays
from stagelight_collector.feed.stream import End, Stream
from stagelight_collector.feed.wire import HEADERS, Events
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.limits import TooManyViewers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from stagelight_collector.feed.admission import Admission
    from stagelight_collector.rooms.channel import Message
    from stagelight_collector.rooms.hub import Hub

RETRY_MS: Final = 1_000


@dataclass(slots=True)
class Feed:
    """The routes of the feed."""

    hub: Hub
    replays: Replays = field(init=False)
    _plain: Events = field(init=False)
    _chunked: Events = field(init=False)

    def __post_init__(self) -> None:
        self.replays = Replays(self.hub.load, self.hub.counters)
        self._plain = Events(self.hub.stamp)
        self._chunked = Events(self.hub.stamp, chunked=True)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/feed", self.several, allow_head=False),
            web.get("/api/v1/runs/{id:[^/]+}/feed", self.one, allow_head=False),
        ]

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Stream one run's room, or with `speed` what was; 404 if nobody knows the run."""
        run_id = request.match_info["id"]
        if speed := request.query.get("speed"):
            return await self.replays.serve(request, run_id, speed)
        return await self._stream(request, admission.to_one(self.hub, request, last_event_id(request)))

    async def several(self, request: web.Request) -> web.StreamResponse:
        """Stream the rooms named by `room`; a room that nobody knows is answered with `gone`."""
        entering = admission.to_several(self.hub, request, last_event_id(request), [lobby.NAME])
        return await self._stream(request, entering)

    async def _stream(self, request: web.Request, entering: Awaitable[Admission]) -> web.StreamResponse:
        try:
            admitted = await entering
        except TooManyViewers as error:
            raise Problem(503, f"{error}.", "Try again.", retry_after=5) from error
        response = web.StreamResponse(headers=HEADERS)
        try:
            if admitted.first is None:
                return web.Response(status=204)
            writer = await response.prepare(request)
            if writer is None:
                return response
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            wire = self._chunked if hdrs.TRANSFER_ENCODING in response.headers else self._plain
            stream = Stream(self.hub, admitted.viewer, request, wire, writer.drain)
            await _told(stream, admitted.first)
        except ConnectionError:
            pass  # it has gone, and nobody is left to tell
        finally:
            self.hub.leave(admitted.viewer)
        return response


async def _told(stream: Stream, first: list[Message]) -> None:
    try:
        stream.start(first)
        first.clear()
        if await stream.ended in {End.SLOW, End.GONE} and stream.request.transport is not None:
            stream.request.transport.abort()
    finally:
        await stream.close()
