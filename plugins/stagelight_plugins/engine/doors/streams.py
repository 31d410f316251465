"""Streams: an instance's events as server-sent events, first those that were, then those that come."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from aiohttp import web

from stagelight_plugins.engine.doors.envelope import INVALID, Refused
from stagelight_plugins.engine.doors.shapes import when
from stagelight_plugins.engine.facts import EventName

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from stagelight_plugins.engine.contract import ControlPlane
    from stagelight_plugins.engine.facts import InstanceEvent, InstanceInfo

MOST: Final = 1_000
"""Streams that may be open at once."""
QUIET_SECONDS: Final = 15.0
"""After so long without an event, a stream says that it is still there."""
_STILL_HERE: Final = b": still here\n\n"
_NAMES: Final = {"type": "stepType", "retry_delay_ms": "retryDelayMs", "event_type": "eventType"}


@dataclass(slots=True, eq=False)
class Streams:
    """The streams that are open. A receiver of the collector, so that they end before its port is closed."""

    _open: set[asyncio.Task[None]] = field(default_factory=set["asyncio.Task[None]"])

    async def start(self) -> None:
        """Nothing to do: a stream begins with its request."""

    async def stop(self) -> None:
        """End all streams; their readers come back with the last id that they have."""
        for task in list(self._open):
            task.cancel()

    async def answer(
        self, request: web.Request, plane: ControlPlane, info: InstanceInfo
    ) -> web.StreamResponse:
        """Answer with the events of an instance after `cursor` (or `Last-Event-ID`), those of `filter` only.

        Raises:
            Refused: An argument is wrong, or too many streams are open.
        """
        if len(self._open) >= MOST:
            raise Refused(429, 10429, f"{MOST:,} streams are open already; close some, or ask for the status")
        cursor, types = _cursor(request), _types(request)
        told = plane.subscribe(info.workflow, info.id, cursor=cursor, types=types)
        events = cast("AsyncGenerator[InstanceEvent]", told)
        coming = asyncio.ensure_future(_following(events))
        if info.status.ended and await coming is None:
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        task = asyncio.ensure_future(_tell(response, events, coming))
        self._open.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._open.discard(task)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task
        return response


async def _following(events: AsyncGenerator[InstanceEvent]) -> InstanceEvent | None:
    return await anext(events, None)


async def _tell(
    response: web.StreamResponse,
    events: AsyncGenerator[InstanceEvent],
    coming: asyncio.Future[InstanceEvent | None],
) -> None:
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=QUIET_SECONDS)
            if not done:
                await response.write(_STILL_HERE)
                continue
            event = coming.result()
            if event is None:
                return
            await response.write(frame(event))
            coming = asyncio.ensure_future(_following(events))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await coming
        await events.aclose()


def frame(event: InstanceEvent) -> bytes:
    """Return an event as it goes over the wire."""
    data: dict[str, Any] = {
        "eventId": event.id,
        "type": event.type,
        "timestamp": when(event.time),
        "workflowName": event.workflow,
        "instanceId": event.instance,
    }
    if event.step:
        data |= {"stepName": event.step, "stepCount": event.count}
    if event.attempt:
        data["attempt"] = event.attempt
    data |= {_NAMES.get(key, key): value for key, value in event.data.items()}
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), orjson.dumps(data))


def _cursor(request: web.Request) -> int:
    given = request.query.get("cursor", "") or request.headers.get("Last-Event-ID", "")
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise Refused(400, INVALID, f"cursor: {given[:40]!r} is no eventId; give the last one that you have")
    return int(given or 0)


def _types(request: web.Request) -> frozenset[EventName]:
    given = [name for part in request.query.getall("filter", ()) for name in part.split(",") if name]
    try:
        return frozenset(EventName(name) for name in given)
    except ValueError as error:
        known = ", ".join(EventName)
        raise Refused(400, INVALID, f"filter: {error}; event types are {known}") from error
