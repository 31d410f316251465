"""The past: what history and the bus know of a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.bus.contract import BusAway

if TYPE_CHECKING:
    from stagelight_collector.bus.contract import Bus
    from stagelight_collector.history import History

MAX_EVENTS: Final = 200_000
"""How many events of one run are read back from history."""
PAGE_EVENTS: Final = 10_000

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Past:
    """Reads the events of a run: those in history, and the latest, which may be on the bus alone."""

    history: History
    bus: Bus

    async def __call__(self, run_id: str) -> list[Event]:
        """Return a run's events in no certain order, some maybe twice; raise what history raises."""
        events = await load_events(self.history, run_id)
        try:
            recent = await self.bus.snapshot(run_id)
        except BusAway as error:
            _log.warning("run %s is read from history alone: %s", run_id, error)
            return events
        return [*events, *(told.event for told in recent or ())]


async def load_events(history: History, run_id: str) -> list[Event]:
    """Read the events of a run back from history."""
    events: list[Event] = []
    cursor: str | None = None
    while len(events) < MAX_EVENTS:
        page = await history.run_events(run_id, limit=PAGE_EVENTS, cursor=cursor)
        events += page.items
        cursor = page.cursor
        if cursor is None:
            return events
    record = await history.run(run_id)
    if record is not None and record.ended is not None:
        # So long a run is cut off; at least it must not look as if it went on.
        kind = EventType(f"run_{record.status}")
        events.append(Event(type=kind, run_id=run_id, time=record.ended, error=record.error))
    return events
