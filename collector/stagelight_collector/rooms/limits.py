"""The bounds of the hub, and what became of what they kept out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class HubLimits:
    """The bounds of memory."""

    rooms: int = 1_000
    """Twice as many while history is behind; then rooms leave that history does not have in full."""
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
class HubCounters:
    """What the hub has done."""

    events: int = 0
    duplicates: int = 0
    messages: int = 0
    evicted: int = 0
    """Rooms that made place for others."""
    evicted_early: int = 0
    """Of those, the ones that left before history had all of their events."""
    closed_idle: int = 0
    """Rooms that left because nobody had needed them for long."""
    lagged: int = 0
    """How often a viewer fell behind and was given everything afresh."""
    dropped: int = 0
    """Viewers that were disconnected because they took nothing for too long."""
