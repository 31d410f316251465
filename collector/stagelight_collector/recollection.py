"""A run that has left memory, read back from history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight.conventions import EventType
from stagelight.events import Event

if TYPE_CHECKING:
    from stagelight_collector.history import History

MAX_EVENTS: Final = 200_000
"""How many events of one run are read back from history."""
PAGE_EVENTS: Final = 10_000


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
