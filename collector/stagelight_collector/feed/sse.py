"""Server-sent events: a snapshot of each room, then every message after it, resumable by `Last-Event-ID`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from stagelight_collector.api.problem import Problem
from stagelight_collector.feed.replay import Replays
from stagelight_collector.feed.stream import MAX_ROOMS, End, Stream, first_messages, room_names
from stagelight_collector.feed.wire import HEADERS, Events, requested_types
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.limits import TooManyViewers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.rooms.channel import Message, Viewer
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
        self.replays = Replays(self.hub.load)
        self._plain, self._chunked = Events(self.hub.epoch), Events(self.hub.epoch, chunked=True)

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
        async with self.hub.holding([run_id]) as known:
            if not known:
                raise Problem(404, f"There is no run {run_id!r}.", "GET /api/v1/runs lists the runs.")
            viewer, first = self._admit(request, known, [])
        return await self._stream(request, viewer, first)

    async def several(self, request: web.Request) -> web.StreamResponse:
        """Stream the rooms named by `room`; a room that nobody knows is answered with `gone`."""
        names = room_names(request.query.getall("room", [lobby.NAME]))
        if len(names) > MAX_ROOMS:
            raise Problem(400, f"{len(names)} rooms on one stream.", f"At most {MAX_ROOMS} are possible.")
        async with self.hub.holding(names) as known:
            unknown = [name for name in names if name not in known]
            viewer, first = self._admit(request, known, unknown)
        return await self._stream(request, viewer, first)

    def _admit(
        self, request: web.Request, names: list[str], unknown: list[str]
    ) -> tuple[Viewer, list[Message] | None]:
        last_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
        try:
            viewer = self.hub.join(names, requested_types(request))
        except TooManyViewers as error:
            raise Problem(503, str(error), "Try again.", retry_after=5) from error
        return viewer, first_messages(self.hub, viewer, unknown, last_id)

    async def _stream(
        self, request: web.Request, viewer: Viewer, first: list[Message] | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        try:
            if first is None:
                return web.Response(status=204)
            writer = await response.prepare(request)
            if writer is None:
                return response
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            wire = self._chunked if hdrs.TRANSFER_ENCODING in response.headers else self._plain
            stream = Stream(self.hub, viewer, request, wire, writer.drain)
            await _told(stream, first)
        except ConnectionError:
            pass  # it has gone, and nobody is left to tell
        finally:
            self.hub.leave(viewer)
        return response


async def _told(stream: Stream, first: list[Message]) -> None:
    try:
        stream.start(first)
        first.clear()
        if await stream.ended in {End.SLOW, End.GONE} and stream.request.transport is not None:
            stream.request.transport.abort()
    finally:
        await stream.close()
