"""The hub: all rooms in memory, the lobby, and who watches what.

All methods run on the event loop. One increasing number orders the messages of all rooms, so that a viewer of
several rooms resumes all of them with one `Last-Event-ID`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import EventType
from stagelight_collector.encoding import encode
from stagelight_collector.rooms import view
from stagelight_collector.rooms.channel import Channel, Message, Viewer
from stagelight_collector.rooms.room import Room
from stagelight_collector.rooms.state import Run

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight_collector.rooms.state import Change

LOBBY: Final = "lobby"
SLICE: Final = 200
"""How many events are taken before others get their turn on the event loop."""

Loader = Callable[[str], Awaitable[Sequence["Event"]]]
"""Reads the events of a run from history; empty where it has none."""


@dataclass(slots=True, kw_only=True)
class Limits:
    """The bounds of memory."""

    rooms: int = 1_000
    steps: int = 200_000
    """Over all rooms."""
    lobby: int = 500
    """Runs in the lobby's list; older ones are in history."""
    viewers: int = 1_000


class TooManyViewers(Exception):
    """All places are taken."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} viewers are connected already; close a page, or raise limits.viewers")


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the hub has done."""

    events: int = 0
    duplicates: int = 0
    messages: int = 0
    evicted: int = 0
    lagged: int = 0


@dataclass(slots=True)
class Hub:
    """Rooms by run id, the least recently touched first."""

    load: Loader
    epoch: str
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    seq: int = 0
    counters: Counters = field(default_factory=Counters)
    rooms: OrderedDict[str, Room] = field(default_factory=OrderedDict[str, Room])
    lobby: Channel = field(default_factory=Channel)
    viewers: set[Viewer] = field(default_factory=set[Viewer])
    closing: bool = False
    _listed: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    _dirty: set[str] = field(default_factory=set[str])
    _cold: set[str] = field(default_factory=set[str])
    _steps: int = 0

    # --- events in ------------------------------------------------------------------------------------------------

    async def write(self, events: Sequence[Event]) -> None:
        """Take events in any order, any number of times; tell the viewers what changed."""
        for start in range(0, len(events), SLICE):
            for event in events[start : start + SLICE]:
                self._take(event)
            await asyncio.sleep(0)
        self._evict()

    def _take(self, event: Event) -> None:
        self.counters.events += 1
        room = self.rooms.get(event.run_id) or self._open(event.run_id, whole=event.type in _BEGINNINGS)
        change = self._apply(room, event)
        room.touched = self.clock()
        self.rooms.move_to_end(event.run_id)
        if not change:
            self.counters.duplicates += 1
            return
        self._dirty.add(event.run_id)
        if room.channel.viewers or room.touched - room.watched < RETURN_SECONDS:
            self._publish(room.channel, event.type.value, room.describe(event, change))
        else:
            # Nobody watches or is expected back: who joins gets a snapshot, so nothing need be encoded.
            self.seq += 1
            room.channel.skip(self.seq)
        if change.run and event.type in _LOUD:
            self._list(room)

    def _apply(self, room: Room, event: Event) -> Change:
        steps = len(room.run.steps)
        change = room.apply(event)
        self._steps += len(room.run.steps) - steps
        return change

    def _open(self, run_id: str, *, whole: bool) -> Room:
        room = self.rooms[run_id] = Room(Run(run_id), whole=whole)
        room.channel.skip(self.seq)
        if not whole:
            self._cold.add(run_id)
        return room

    def _publish(self, channel: Channel, kind: str, data: bytes) -> None:
        self.seq += 1
        self.counters.messages += 1
        channel.publish(Message(self.seq, kind, data))

    # --- the lobby ------------------------------------------------------------------------------------------------

    def _list(self, room: Room) -> None:
        summary = view.run_view(room.run)
        self._dirty.discard(room.run.id)
        if not self._enlist(summary):
            return
        self._publish(self.lobby, "run", encode({"room": LOBBY, "run": summary}))

    def _enlist(self, summary: dict[str, Any]) -> bool:
        run_id = summary["id"]
        if run_id not in self._listed and len(self._listed) >= self.limits.lobby:
            oldest = min(self._listed.values(), key=_age)
            if _age(oldest) >= _age(summary):
                return False
            del self._listed[oldest["id"]]
            self._publish(self.lobby, "gone", encode({"room": LOBBY, "run_id": oldest["id"]}))
        self._listed[run_id] = summary
        return True

    def flush(self) -> None:
        """Bring the lobby up to date with the runs that changed in details. Call it a few times a second."""
        for run_id in list(self._dirty):
            if room := self.rooms.get(run_id):
                self._list(room)
        self._dirty.clear()

    def enlist(self, summaries: Iterable[dict[str, Any]]) -> None:
        """Put runs that only history knows into the lobby."""
        for summary in summaries:
            if summary["id"] not in self.rooms:
                self._enlist(summary)

    def runs(self) -> list[dict[str, Any]]:
        """Return the lobby's list, newest first."""
        return sorted(self._listed.values(), key=_age, reverse=True)

    # --- history in -----------------------------------------------------------------------------------------------

    async def warm(self) -> None:
        """Read from history what rooms opened in the middle of a run are missing."""
        while self._cold:
            await self._complete(self._cold.pop())

    async def _complete(self, run_id: str) -> None:
        room = self.rooms.get(run_id)
        if room is None or room.whole:
            return
        changed = [self._apply(room, event) for event in await self.load(run_id)]
        room.whole = True
        if any(changed):
            self._dirty.add(run_id)
            if room.channel.viewers:
                self._reset(room)

    def _reset(self, room: Room) -> None:
        self._publish(room.channel, "reset", encode({"room": room.run.id}))
        self._publish(room.channel, "snapshot", room.snapshot())

    async def find(self, run_id: str) -> Room | None:
        """Return the room of a run, reading it from history where it has left memory; None if nobody knows it."""
        room = self.rooms.get(run_id)
        if room is None:
            events = await self.load(run_id)
            room = self.rooms.get(run_id)
            if room is None:
                if not events:
                    return None
                room = self._open(run_id, whole=True)
            for event in events:
                self._apply(room, event)
            room.touched = self.clock()
        elif not room.whole:
            await self._complete(run_id)
        return room

    # --- viewers --------------------------------------------------------------------------------------------------

    def join(self, names: Sequence[str], types: frozenset[str] = frozenset()) -> Viewer:
        """Admit a viewer to rooms that are open (see `find`); the lobby always is.

        Raises:
            TooManyViewers: All places are taken.
        """
        if len(self.viewers) >= self.limits.viewers:
            raise TooManyViewers(self.limits.viewers)
        viewer = Viewer(types=types)
        for channel in self._channels(names):
            channel.viewers.add(viewer)
        self.viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer, names: Sequence[str]) -> None:
        """Let a viewer go. Safe twice."""
        for name in names:
            if room := self.rooms.get(name):
                room.watched = self.clock()
        for channel in self._channels(names):
            channel.viewers.discard(viewer)
        self.viewers.discard(viewer)
        self.counters.lagged += viewer.lags
        viewer.lags = 0

    def missed(self, names: Sequence[str], last_event_id: str) -> list[Message] | None:
        """Return what a returning viewer missed, or None where that is no longer known."""
        seq = self._resumable(last_event_id)
        if seq is None:
            return None
        messages: list[Message] = []
        for channel in self._channels(names):
            part = channel.since(seq)
            if part is None:
                return None
            messages += part
        return sorted(messages, key=lambda message: message.seq)

    def _resumable(self, last_event_id: str) -> int | None:
        epoch, _, number = last_event_id.partition("-")
        if epoch != self.epoch or not number.isdecimal() or int(number) > self.seq:
            return None
        return int(number)

    def snapshots(self, names: Sequence[str]) -> list[Message]:
        """Return the whole state of each room, as of now."""
        return [Message(self.seq, "snapshot", self._snapshot(name)) for name in names]

    def _snapshot(self, name: str) -> bytes:
        if name == LOBBY:
            return encode({"room": LOBBY, "runs": self.runs()})
        room = self.rooms.get(name)
        return room.snapshot() if room else encode({"room": name, **view.snapshot(Run(name))})

    def finished(self, names: Sequence[str]) -> bool:
        """Whether none of these rooms will ever have news: every run has ended and has been quiet for a while."""
        now = self.clock()
        rooms = [self.rooms.get(name) for name in names if name != LOBBY]
        return LOBBY not in names and all(
            room is None or (room.run.final is not None and now - room.touched > LINGER_SECONDS)
            for room in rooms
        )

    def close(self) -> None:
        """Tell every viewer that the collector goes down. Safe twice."""
        self.closing = True
        message = Message(self.seq, "restarting", b"{}")
        for viewer in self.viewers:
            viewer.push(message)
            viewer.wake()

    def _channels(self, names: Sequence[str]) -> list[Channel]:
        rooms = (self.rooms.get(name) for name in names if name != LOBBY)
        channels = [room.channel for room in rooms if room is not None]
        return [self.lobby, *channels] if LOBBY in names else channels

    # --- the bound ------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many steps all rooms hold."""
        return self._steps

    def _evict(self) -> None:
        """Let go of rooms that nobody watches, ended ones first, the longest untouched first. History has them."""
        while len(self.rooms) > self.limits.rooms or self._steps > self.limits.steps:
            unwatched = [room for room in self.rooms.values() if not room.channel.viewers]
            victim = next((room for room in unwatched if room.run.final is not None), None) or next(
                iter(unwatched), None
            )
            if victim is None:
                return
            self._dirty.discard(victim.run.id)
            self._list(victim)
            self._cold.discard(victim.run.id)
            self._steps -= len(victim.run.steps)
            del self.rooms[victim.run.id]
            self.counters.evicted += 1


RETURN_SECONDS: Final = 60.0
"""How long after its last viewer left a room goes on keeping messages for who comes back."""

LINGER_SECONDS: Final = 3.0
"""How long a stream stays open after its run has ended, for what comes late."""

_BEGINNINGS: Final = frozenset({EventType.RUN_CREATED, EventType.RUN_QUEUED, EventType.RUN_STARTED})
_LOUD: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))
"""Events that the lobby hears of at once."""


def _age(summary: dict[str, Any]) -> tuple[float, str]:
    return (summary["started_ms"] or 0.0, summary["id"])
