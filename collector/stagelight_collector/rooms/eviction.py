"""Eviction: which rooms leave memory, and when.

Rooms leave when the bound asks for their place, and when they have been idle for long. A room that somebody watches or
is about to use stays; so does one whose events history does not have yet, save at twice the bound.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from stagelight_collector.rooms.limits import HubCounters, HubLimits
    from stagelight_collector.rooms.room import Room

CANDIDATES: Final = 64
"""How many rooms are looked at for one to let go of."""
PORTION: Final = 500
"""How many rooms are looked at before others get their turn on the event loop."""
ENDED_SECONDS: Final = 300.0
"""How long the room of an ended run stays after its last event and its last viewer."""
SILENT_SECONDS: Final = 3_600.0
"""The same for a run that goes on; its next event opens the room again, and history completes it."""


@dataclass(slots=True)
class Eviction:
    """Chooses among the rooms of a hub, the least recently touched first; the hub lets go of them."""

    rooms: OrderedDict[str, Room]
    limits: HubLimits
    counters: HubCounters
    clock: Callable[[], float]
    kept: Callable[[], int]
    """Up to which batch history has everything."""
    let_go: Callable[[Room], None]
    steps: int = 0
    """How many steps all rooms hold."""
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    _unkept: Counter[str] = field(default_factory=Counter[str])
    """Runs of which history is being told outside the journal."""

    @contextmanager
    def awaiting_history(self, run_ids: Iterable[str]) -> Generator[None]:
        """Keep the rooms of these runs in memory while their events go into history without the journal."""
        ids = list(run_ids)
        self._unkept.update(ids)
        try:
            yield
        finally:
            self._unkept.subtract(ids)
            for run_id in ids:
                if not self._unkept[run_id]:
                    del self._unkept[run_id]

    def mark(self, room: Room) -> None:
        """Note whether a room's run has ended: ended ones leave first."""
        if room.run.final is None:
            self._ended.pop(room.run.id, None)
        else:
            self._ended[room.run.id] = None

    def make_place(self) -> None:
        """Let rooms go until there is a place for one more."""
        while len(self.rooms) >= self.limits.rooms or self.steps > self.limits.steps:
            kept = self.kept()
            victim = self._victim(kept)
            if victim is None and len(self.rooms) >= 2 * self.limits.rooms:
                victim = self._victim(None)
            if victim is None:
                return
            self.counters.evicted += 1
            self.counters.evicted_early += not self._is_kept(victim, kept)
            self._remove(victim)

    async def close_idle(self) -> None:
        """Let go of the rooms that nobody has needed for long. Call it every few seconds."""
        for number, room in enumerate(list(self.rooms.values()), start=1):
            # Looked at one by one: while others had their turn, a room may have left or be needed again.
            if self.rooms.get(room.run.id) is room and self._is_idle(room):
                self.counters.closed_idle += 1
                self._remove(room)
            if number % PORTION == 0:
                await asyncio.sleep(0)

    def _is_idle(self, room: Room) -> bool:
        patience = SILENT_SECONDS if room.run.final is None else ENDED_SECONDS
        quiet = self.clock() - max(room.touched, room.watched)
        return quiet > patience and not _is_needed(room) and self._is_kept(room, self.kept())

    def _victim(self, kept: int | None) -> Room | None:
        """Return a room that nobody needs: an ended one if there is one, and the longest untouched.

        `kept`: up to which batch history has everything; None to let go of what history does not have, too.
        """
        for order in (self._ended, self.rooms):
            for run_id, _ in zip(order, range(CANDIDATES), strict=False):
                room = self.rooms[run_id]
                if not _is_needed(room) and (kept is None or self._is_kept(room, kept)):
                    return room
        return None

    def _is_kept(self, room: Room, kept: int) -> bool:
        return room.seq <= kept and room.run.id not in self._unkept

    def _remove(self, room: Room) -> None:
        self.steps -= len(room.run.steps)
        self._ended.pop(room.run.id, None)
        self.let_go(room)


def _is_needed(room: Room) -> bool:
    return bool(room.channel.viewers or room.pins)
