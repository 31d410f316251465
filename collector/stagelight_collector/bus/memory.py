"""The bus of one collector: a bounded ring in memory. What is published is heard at once."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight_collector.bus.contract import BusCounters, Told

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight_collector.bus.contract import Listener
    from stagelight_plugins.hookspecs import Batch

RING: Final = 1_024
"""How many events are kept for those who come back to a room that nobody watched meanwhile."""
RING_BYTES: Final = 8 << 20
SLICE: Final = 200
"""How many events are told before others get their turn on the event loop."""
_EVENT_BYTES: Final = 512
"""About what an event takes without its texts."""


@dataclass(slots=True, eq=False)
class MemoryBus:
    """Numbers events and tells them to who listens."""

    epoch: str
    listeners: list[Listener] = field(default_factory=list["Listener"])
    capacity: int = RING
    number: int = 0
    counters: BusCounters = field(default_factory=BusCounters)
    _forgotten: int = 0
    """Events up to this number are not kept any more."""
    _bytes: int = 0
    _ring: deque[Told] = field(default_factory=deque[Told])

    @property
    def problem(self) -> str:
        """Say nothing: it is always well."""
        return ""

    @property
    def waiting(self) -> int:
        """Nothing ever waits."""
        return 0

    async def subscribe(self, listener: Listener, after: int | None = None) -> None:
        """Tell a listener everything after a number; without one, from now on."""
        start = self.number if after is None else max(after, self._forgotten)
        listener.begin(self.epoch, start)
        if after is not None and after < start:
            self.counters.torn += 1
            listener.tear()
        for told in self._ring:
            if told.number > start:
                listener.take(told.event, 0, told.number)
        self.listeners.append(listener)

    async def publish(self, batch: Batch) -> None:
        """Tell the events of a batch."""
        for start in range(0, len(batch.events), SLICE):
            for event in batch.events[start : start + SLICE]:
                self._tell(event, batch.seq)
            await asyncio.sleep(0)

    def _tell(self, event: Event, seq: int) -> None:
        self.number += 1
        self.counters.published += 1
        self._ring.append(Told(self.number, event))
        self._bytes += weight(event)
        while len(self._ring) > self.capacity or self._bytes > RING_BYTES:
            oldest = self._ring.popleft()
            self._bytes -= weight(oldest.event)
            self._forgotten = oldest.number
        for listener in self.listeners:
            self.counters.heard += 1
            listener.take(event, seq, self.number)

    async def snapshot(self, run_id: str, after: int = 0) -> list[Told] | None:
        """Return what the ring has of a run after a number; None where it has forgotten some of that."""
        if 0 < after < self._forgotten:
            return None
        return [told for told in self._ring if told.number > after and told.event.run_id == run_id]

    async def doubt(self) -> None:
        """Do nothing: what is published is heard."""

    async def forget(self, run_id: str) -> None:
        """Let go of a deleted run."""
        kept = [told for told in self._ring if told.event.run_id != run_id]
        self._ring.clear()
        self._ring.extend(kept)
        self._bytes = sum(weight(told.event) for told in kept)
        for listener in self.listeners:
            listener.forget(run_id)

    async def close(self) -> None:
        """Do nothing: nothing waits."""


def weight(event: Event) -> int:
    """Return about how many bytes an event takes."""
    texts = sum(len(value) for value in event.attributes.values() if isinstance(value, str))
    stack = len(event.error.stacktrace) if event.error else 0
    return _EVENT_BYTES + len(event.message) + texts + stack
