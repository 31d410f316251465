"""Admission: which rooms a request asks for, whether they are there, and what its viewer is told first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stagelight.conventions import EventType
from stagelight_collector.api.problem import Problem
from stagelight_collector.feed.stream import afresh, gone
from stagelight_collector.rooms import lobby
from stagelight_collector.rooms.channel import UNFILTERED
from stagelight_collector.rooms.hub import LOBBY
from stagelight_collector.rooms.retelling import catch_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import web

    from stagelight_collector.rooms.channel import Message, Viewer
    from stagelight_collector.rooms.hub import Hub

MAX_ROOMS: Final = 16
"""Rooms on one stream."""
TYPES: Final = frozenset({*map(str, EventType), "run", *UNFILTERED})
"""All types of messages."""


@dataclass(slots=True)
class Admission:
    """A viewer that has been let in."""

    viewer: Viewer
    first: list[Message] | None
    """What it is told first; None where it knows all, and there will never be more."""


async def to_one(hub: Hub, request: web.Request, last_id: str) -> Admission:
    """Let a viewer into the room of the run that the path names.

    Raises:
        Problem: Nobody knows the run.
        TooManyViewers: All places are taken.
    """
    run_id = request.match_info["id"]
    async with hub.holding([run_id]) as known:
        if not known:
            raise Problem(404, f"There is no run {run_id!r}.", "GET /api/v1/runs lists the runs.")
        await catch_up(hub, known, last_id)
        return _let_in(hub, request, known, [], last_id)


async def to_several(hub: Hub, request: web.Request, last_id: str, default: Sequence[str] = ()) -> Admission:
    """Let a viewer into the rooms that the query names; those that nobody knows are told to be gone.

    Raises:
        Problem: They are too many.
        TooManyViewers: All places are taken.
    """
    if "speed" in request.query:
        raise Problem(
            400,
            "Several rooms cannot be replayed on one stream.",
            "GET /api/v1/runs/{id}/feed?speed=max replays one run.",
        )
    names = room_names(request.query.getall("room", default))
    if len(names) > MAX_ROOMS:
        raise Problem(400, f"{len(names)} rooms on one stream.", f"At most {MAX_ROOMS} are possible.")
    async with hub.holding(names) as known:
        await catch_up(hub, known, last_id)
        return _let_in(hub, request, known, [name for name in names if name not in known], last_id)


def _let_in(
    hub: Hub, request: web.Request, known: Sequence[str], unknown: Sequence[str], last_id: str
) -> Admission:
    """Join, and find what comes first; nothing is awaited here, so nothing comes in between."""
    viewer = hub.join(known, requested_types(request))
    return Admission(viewer, first_messages(hub, viewer, unknown, last_id))


def requested_types(request: web.Request) -> frozenset[str]:
    """Return the types of messages that a request asks for; empty means all.

    Raises:
        Problem: There is no such type.
    """
    return known_types(filter(None, request.query.get("types", "").split(",")))


def known_types(types: Iterable[str]) -> frozenset[str]:
    """Return types of messages as a filter. One that is misspelt would let nothing through, and nobody would know why.

    Raises:
        Problem: There is no such type.
    """
    found = frozenset(types)
    if unknown := sorted(found - TYPES):
        raise Problem(
            400, f"There is no type {unknown[0][:100]!r}.", f"Possible are {', '.join(sorted(TYPES))}."
        )
    return found


def last_event_id(request: web.Request) -> str:
    """Return the message after which a reader of server-sent events goes on; the first request cannot set headers."""
    return request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")


def first_messages(
    hub: Hub, viewer: Viewer, unknown: Sequence[str], last_event_id: str
) -> list[Message] | None:
    """Return what a viewer is told first; None where it knows all, and there will never be more.

    Nothing is awaited between a viewer's joining and this, so nothing comes in between.
    """
    missed = hub.missed(viewer.names, last_event_id) if last_event_id else None
    if missed is not None:
        wanted = [message for message in missed if viewer.wants(message)]
        return wanted if wanted or not hub.finished(viewer.names) else None
    first = afresh(hub, viewer.names) if last_event_id else hub.snapshots(viewer.names)
    return [*first, *(gone(hub, name) for name in unknown)]


def room_names(asked: Sequence[str]) -> list[str]:
    """Return rooms as the hub names them, each once."""
    return [LOBBY if name == lobby.NAME else name for name in dict.fromkeys(asked)]
