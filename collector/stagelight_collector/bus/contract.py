"""What a bus does for the rooms, whatever is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight_plugins.hookspecs import Batch


class BusUnusable(Exception):
    """The bus cannot be used as it is configured; the message says what to do."""


class BusAway(Exception):
    """The bus cannot be reached for now."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event and its number: its place among the events of all rooms, the same for every collector."""

    number: int
    event: Event


@dataclass(slots=True, kw_only=True)
class BusCounters:
    """What the bus has done."""

    published: int = 0
    """Events of this collector that the bus has taken."""
    heard: int = 0
    """Events of all collectors that were read."""
    lost: int = 0
    """Events of this collector that never reached the bus; the rooms of all are completed from history."""
    torn: int = 0
    """How often the bus had forgotten what was not read yet, so that every viewer was given everything afresh."""
    unreadable: int = 0
    """What was read and is no event."""


class Listener(Protocol):
    """Who hears of everything: the rooms of one collector. Nothing here waits."""

    def begin(self, epoch: str, number: int) -> None:
        """Hear which numbers these are, and after which one it goes on. Said first, and again when others begin.

        What comes before the dot in `epoch` is the same for every collector on this bus.
        """
        ...

    def take(self, event: Event, seq: int = 0, number: int = 0) -> None:
        """Take the next event; `seq` is its batch in this collector's journal, 0 where it is not known."""
        ...

    def tear(self) -> None:
        """Hear that events before the next one are missing: nobody can go on from what they have."""
        ...

    def doubt(self) -> None:
        """Hear that history may have events which will never come: look there."""
        ...

    def forget(self, run_id: str) -> None:
        """Hear that a run was deleted."""
        ...


class Bus(Protocol):
    """Carries events from every collector to every collector: in one order, without gap, or with a gap that is told."""

    counters: BusCounters

    @property
    def problem(self) -> str:
        """Why the bus carries nothing at the moment, in words; empty while all is well."""
        ...

    @property
    def waiting(self) -> int:
        """How many events of this collector the bus has yet to take."""
        ...

    async def subscribe(self, listener: Listener, after: int | None = None) -> None:
        """Tell a listener everything after a number; without one, from a little before now on."""
        ...

    async def publish(self, batch: Batch) -> None:
        """Hand over the events of a batch. They are lost, counted and announced where the bus is away for long."""
        ...

    async def snapshot(self, run_id: str, after: int = 0) -> list[Told] | None:
        """Return what the bus still has of a run after a number, in order; None where it has forgotten some of that.

        With 0, all that it still has.

        Raises:
            BusAway: It cannot be reached.
        """
        ...

    async def doubt(self) -> None:
        """Have every collector look into history, after what was published before."""
        ...

    async def forget(self, run_id: str) -> None:
        """Let go of a deleted run, everywhere."""
        ...

    async def close(self) -> None:
        """Hand over what waits, and stop. Safe twice."""
        ...
