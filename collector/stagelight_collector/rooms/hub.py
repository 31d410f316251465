"""The hub: all rooms in memory, the lobby, and who watches what.

All methods run on the event loop. Events have increasing numbers, given by the bus, and the message of an event has
its number; so a viewer of several rooms resumes all of them with one `Last-Event-ID`. The lobby's messages come of many
events: they have the latest number there was, share it, and are told again rather than not at all.

A room is whole when memory holds all of its run; a room that was opened in the middle of a run is completed from
history. So no room leaves memory before history has its events (see `eviction`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import EventType
from stagelight_collector.encoding import encode
from stagelight_collector.rooms import ids, view
from stagelight_collector.rooms.channel import Channel, Message, Viewer
from stagelight_collector.rooms.eviction import Eviction
from stagelight_collector.rooms.limits import HubCounters, HubLimits, TooManyViewers
from stagelight_collector.rooms.lobby import Lobby
from stagelight_collector.rooms.room import Room
from stagelight_collector.rooms.state import Run

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight_collector.bus.contract import Told
    from stagelight_collector.rooms.state import Change

LOBBY: Final = ""
"""The lobby among names of rooms; no run has it."""
SLICE: Final = 200
"""How many events, or runs, are dealt with before others get their turn on the event loop."""
FRESH_NS: Final = 5_000_000_000
"""A start that was received so soon after it happened has no past in history."""
RETURN_SECONDS: Final = 60.0
"""How long after its last viewer left a room goes on keeping messages for who comes back."""
LINGER_SECONDS: Final = 3.0
"""How long a stream stays open after its run has ended, for what comes late."""

_BEGINNINGS: Final = frozenset({EventType.RUN_CREATED, EventType.RUN_QUEUED, EventType.RUN_STARTED})
_LOUD: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))
"""Events that the lobby hears of at once."""

Recall = Callable[[str, int], Awaitable["Sequence[Told] | None"]]
"""Reads the events of a run after a number from the bus; None where it has forgotten some of them."""
Loader = Callable[[str], Awaitable[Sequence["Event"]]]
"""Reads the events of a run from history; empty where it has none."""

_log = logging.getLogger(__name__)


def _all_kept() -> int:
    return 2**63


async def _forgotten(_run_id: str, _after: int) -> None:
    """Recall nothing: there is no bus."""


@dataclass(slots=True)
class Hub:
    """Rooms by run id, the least recently touched first."""

    load: Loader
    epoch: str
    limits: HubLimits = field(default_factory=HubLimits)
    clock: Callable[[], float] = time.monotonic
    kept: Callable[[], int] = _all_kept
    """Up to which batch history has everything."""
    recall: Recall = _forgotten
    seq: int = 0
    """The number of the latest event."""
    torn: int = 0
    """From before this number nobody can go on with what the bus alone knows."""
    doubts: int = 0
    """How often memory turned out to lack something that history may have."""
    settled: bool = True
    """Whether every room that is shown is known to be whole."""
    counters: HubCounters = field(default_factory=HubCounters)
    rooms: OrderedDict[str, Room] = field(default_factory=OrderedDict[str, Room])
    viewers: set[Viewer] = field(default_factory=set[Viewer])
    closing: bool = False
    lobby: Lobby = field(init=False)
    eviction: Eviction = field(init=False)
    _dirty: dict[str, None] = field(default_factory=dict[str, None])
    _cold: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])

    def __post_init__(self) -> None:
        self.lobby = Lobby(self.limits.lobby, self._publish)
        self.eviction = Eviction(self.rooms, self.limits, self.counters, self.clock, self.kept, self._let_go)

    def stamp(self) -> str:
        """Return what ids begin with now."""
        return ids.stamp(self.epoch, settled=self.settled)

    # --- events in ------------------------------------------------------------------------------------------------

    async def write(self, events: Sequence[Event], seq: int = 0) -> None:
        """Take the events of batch `seq` in any order, any number of times; tell the viewers what changed."""
        for start in range(0, len(events), SLICE):
            for event in events[start : start + SLICE]:
                self.take(event, seq)
            await asyncio.sleep(0)

    def begin(self, epoch: str, number: int) -> None:
        """Go on with other numbers, after this one."""
        self.epoch, self.seq = epoch, number
        self.tear()

    def tear(self) -> None:
        """Hear that events before the next one are missing: give everybody everything afresh."""
        for channel in (self.lobby.channel, *(room.channel for room in self.rooms.values())):
            channel.skip(self.seq + 1)
        for viewer in self.viewers:
            viewer.lag()
        self.doubt()

    def doubt(self) -> None:
        """Hear that history may have events which will never come: complete every room from it."""
        self.doubts += 1
        self.torn, self.settled = self.seq + 1, False
        for run_id, room in self.rooms.items():
            room.whole = False
            self._cold[run_id] = None

    def take(self, event: Event, seq: int = 0, number: int = 0) -> None:
        """Take one event at once; for many, `write` lets others have their turn.

        `seq`: its batch in the journal. `number`: its place on the bus; without one it is numbered here.
        """
        self.seq = number or self.seq + 1
        self.counters.events += 1
        room = self.rooms.get(event.run_id) or self._open(event.run_id, whole=_has_no_past(event))
        room.seq = max(room.seq, seq)
        room.touched = self.clock()
        self.rooms.move_to_end(event.run_id)
        change = self._apply(room, event)
        if not change:
            self.counters.duplicates += 1
            return
        self._dirty[event.run_id] = None
        if room.channel.viewers or room.touched - room.watched < RETURN_SECONDS:
            self._publish(room.channel, event.type.value, room.describe(event, change))
        else:
            # Nobody watches or is expected back: who joins gets a snapshot, so nothing need be encoded.
            room.channel.skip(self.seq)
        if change.run and event.type in _LOUD:
            self._list(room)

    def awaiting_history(self, run_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Keep the rooms of these runs in memory while their events go into history without the journal."""
        return self.eviction.awaiting_history(run_ids)

    def _apply(self, room: Room, event: Event) -> Change:
        steps = len(room.run.steps)
        change = room.apply(event)
        if self.rooms.get(room.run.id) is room:
            self.eviction.steps += len(room.run.steps) - steps
            if change.run:
                self.eviction.mark(room)
        return change

    def _open(self, run_id: str, *, whole: bool) -> Room:
        self.eviction.make_place()
        room = self.rooms[run_id] = Room(Run(run_id), whole=whole)
        room.channel.skip(self.seq)
        room.touched = self.clock()
        if not whole:
            self._cold[run_id] = None
        return room

    def _publish(self, channel: Channel, kind: str, data: bytes) -> None:
        self.counters.messages += 1
        channel.publish(Message(self.seq, kind, data))

    # --- the lobby ------------------------------------------------------------------------------------------------

    def _list(self, room: Room) -> None:
        # What history says of a run is better than a room that knows only its latest events.
        # Where history is away, the lobby still goes with a room that it knows the run from.
        if room.whole or room.listed or room.run.id not in self.lobby:
            room.listed = True
            self._dirty.pop(room.run.id, None)
            if self.lobby.has_place(room.run.id, view.ms(room.run.started)):
                self.lobby.tell(view.run_view(room.run))

    def flush(self) -> None:
        """Bring the lobby up to date with runs that changed in details. Call it a few times a second."""
        for run_id in list(self._dirty)[:SLICE]:
            room = self.rooms.get(run_id)
            if room is not None:
                self._list(room)
            self._dirty.pop(run_id, None)

    def enlist(self, summaries: Iterable[dict[str, Any]]) -> None:
        """Put runs that only history knows into the lobby."""
        for summary in summaries:
            if summary["id"] not in self.rooms:
                self.lobby.tell(summary)

    def forget(self, run_id: str) -> None:
        """Let go of a run that was deleted, and tell whoever watches it."""
        if room := self.rooms.get(run_id):
            self._publish(room.channel, "gone", encode({"room": run_id, "run_id": run_id}))
            self._dirty.pop(run_id, None)
            self._let_go(room)
        self.lobby.remove(run_id)

    # --- history in -----------------------------------------------------------------------------------------------

    async def warm(self) -> None:
        """Complete rooms from history until all are whole; raise what history raises, and go on at the next call."""
        while self._cold:
            run_id = next(iter(self._cold))
            room = self.rooms.get(run_id)
            if room is None or room.whole:
                self._cold.pop(run_id, None)
                continue
            self._cold.move_to_end(run_id)
            await self._complete(room)
        self.settled = True

    async def _complete(self, room: Room) -> None:
        """Merge what history knows into a room; its order does not matter, nor what memory has already."""
        room.pins += 1
        doubts = self.doubts
        try:
            events = await self.load(room.run.id)
            changed = False
            for start in range(0, len(events), SLICE):
                for event in events[start : start + SLICE]:
                    changed |= bool(self._apply(room, event))
                await asyncio.sleep(0)
        finally:
            room.pins -= 1
        if doubts == self.doubts:
            room.whole = True
            self._cold.pop(room.run.id, None)
        if changed or room.retold:
            self._dirty[room.run.id], room.retold = None, False
            # Who was here while the past was missing, and comes back, must not go on from there.
            room.channel.skip(self.seq + 1)
            for kind, data in (("reset", encode({"room": room.run.id})), ("snapshot", room.snapshot())):
                message = Message(self.seq, kind, data)
                for viewer in room.channel.viewers:
                    viewer.push(message)

    async def find(self, run_id: str) -> Room | None:
        """Return the room of a run, whole and ready to be shown; None if nobody knows the run.

        Where history cannot be read, a room in memory is returned as it is; else what history raises is raised.
        """
        room = self.rooms.get(run_id)
        if room is None:
            if not await self.load(run_id):
                return self.rooms.get(run_id)
            room = self.rooms.get(run_id) or self._open(run_id, whole=False)
        self.rooms.move_to_end(run_id)
        if not room.whole:
            try:
                await self._complete(room)
            except Exception as error:  # noqa: BLE001 - what memory has is better than nothing
                self.settled = False
                _log.warning("run %s is shown without its past: %s", run_id, error)
        room.pins += 1
        try:
            for _ in room.encode_ahead(SLICE):
                await asyncio.sleep(0)
        finally:
            room.pins -= 1
        return room

    # --- viewers --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def holding(self, names: Sequence[str]) -> AsyncGenerator[list[str]]:
        """Keep the rooms of these names in memory; yield the names that are known."""
        held: list[Room] = []
        known: list[str] = []
        try:
            for name in names:
                room = None if name == LOBBY else await self.find(name)
                if room is not None:
                    room.pins += 1
                    held.append(room)
                if name == LOBBY or room is not None:
                    known.append(name)
            yield known
        finally:
            for room in held:
                room.pins -= 1

    def join(self, names: Sequence[str], types: frozenset[str] = frozenset()) -> Viewer:
        """Admit a viewer to rooms that are held (see `holding`); the lobby always is.

        Raises:
            TooManyViewers: All places are taken.
        """
        if len(self.viewers) >= self.limits.viewers:
            raise TooManyViewers(self.limits.viewers)
        viewer = Viewer(types=types)
        self.enter(viewer, names)
        self.viewers.add(viewer)
        return viewer

    def enter(self, viewer: Viewer, names: Sequence[str]) -> None:
        """Let a viewer into more rooms, which are held."""
        viewer.names += [name for name in names if name not in viewer.names]
        for channel in self._channels(names):
            channel.viewers.add(viewer)

    def quit(self, viewer: Viewer, names: Sequence[str]) -> None:
        """Take a viewer out of rooms."""
        for name in names:
            if room := self.rooms.get(name):
                room.watched = self.clock()
        for channel in self._channels(names):
            channel.viewers.discard(viewer)
        viewer.names = [name for name in viewer.names if name not in names]

    def leave(self, viewer: Viewer) -> None:
        """Let a viewer go. Safe twice."""
        self.quit(viewer, viewer.names)
        self.viewers.discard(viewer)
        self.counters.lagged += viewer.lags
        viewer.lags = 0

    async def look_after(self) -> None:
        """Have every connection see whether it, or all that it watches, has ended. Call it about once a second."""
        for number, viewer in enumerate(list(self.viewers), start=1):
            viewer.look()
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def missed(self, names: Sequence[str], last_event_id: str) -> list[Message] | None:
        """Return what a returning viewer missed, or None where that is no longer known."""
        seq = ids.number_in(last_event_id, self.epoch, self.seq)
        own = ids.is_own(last_event_id, self.epoch)
        if seq is None or (not own and (LOBBY in names or seq < self.torn)):
            return None  # others have lobbies of their own, and may not know of a loss
        messages: list[Message] = []
        for channel in self._channels(names):
            part = channel.since(seq, again=channel is self.lobby.channel)
            if part is None:
                return None
            messages += part
        return sorted(messages, key=lambda message: message.seq)

    def snapshots(self, names: Sequence[str]) -> list[Message]:
        """Return the whole state of each room, as of now."""
        return [Message(self.seq, "snapshot", self._snapshot(name)) for name in names]

    def _snapshot(self, name: str) -> bytes:
        if name == LOBBY:
            return self.lobby.snapshot()
        room = self.rooms.get(name)
        return room.snapshot() if room else encode({"room": name, **view.snapshot(Run(name))})

    def finished(self, names: Sequence[str]) -> bool:
        """Whether none of these rooms will ever have news: every run has ended and has been quiet for a while."""
        now = self.clock()
        return LOBBY not in names and all(
            room is None or (room.run.final is not None and now - room.touched > LINGER_SECONDS)
            for room in map(self.rooms.get, names)
        )

    def close(self) -> None:
        """Tell every viewer that the collector goes down. Safe twice."""
        self.closing = True
        message = Message(self.seq, "restarting", b"{}")
        for viewer in self.viewers:
            viewer.push(message)
            viewer.look()

    def _channels(self, names: Sequence[str]) -> list[Channel]:
        rooms = (self.rooms.get(name) for name in names if name != LOBBY)
        channels = [room.channel for room in rooms if room is not None]
        # The lobby comes last: of what shares a number, what is told again comes after what is told once.
        return [*channels, self.lobby.channel] if LOBBY in names else channels

    def _let_go(self, room: Room) -> None:
        """Forget a room that eviction has chosen; the lobby keeps what it says of the run."""
        run_id = room.run.id
        if run_id in self._dirty:
            self._list(room)
        for order in (self._dirty, self._cold, self.rooms):
            order.pop(run_id, None)


def _has_no_past(event: Event) -> bool:
    """Whether history can know nothing of this run: it has just begun."""
    return event.type in _BEGINNINGS and event.received - event.time < FRESH_NS
