"""Timers of what is in memory: due times on the wall clock, timeouts on the steady one.

One timer of the loop serves them all. It looks again at least every second, because the wall clock may be set, and a
machine may have been suspended.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from stagelight_plugins.engine.clock import Clock

LOOK_SECONDS: Final = 1.0
MANY: Final = 4_096
"""Fewer cancelled timers are not worth a sweep."""


@dataclass(slots=True, eq=False)
class Timer:
    """Something to do at a time."""

    call: Callable[[], None] | None
    timers: Timers

    def cancel(self) -> None:
        """Do it no more."""
        if self.call is not None:
            self.call = None
            self.timers.cancelled += 1


@dataclass(slots=True, eq=False)
class Timers:
    """Calls what is due."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    cancelled: int = 0
    """Cancelled timers that are still in the heaps."""
    _wall: list[tuple[float, int, Timer]] = field(default_factory=list["tuple[float, int, Timer]"])
    _steady: list[tuple[float, int, Timer]] = field(default_factory=list["tuple[float, int, Timer]"])
    _numbers: Iterator[int] = field(default_factory=count)
    _handle: asyncio.TimerHandle | None = None
    _armed: float = 0.0

    def at(self, due: int, call: Callable[[], None]) -> Timer:
        """Call when the wall clock shows `due`, Unix milliseconds, or later."""
        return self._push(self._wall, float(due), call, (due - self.clock.now()) / 1_000)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call after so many seconds of the steady clock."""
        return self._push(self._steady, self.clock.steady() + seconds, call, seconds)

    def next_wall(self) -> int | None:
        """Return when the next timer on the wall clock is due; None where there is none."""
        live = (due for due, _, timer in self._wall if timer.call is not None)
        found = min(live, default=None)
        return None if found is None else int(found)

    def poke(self) -> None:
        """Call what is due now."""
        self._fire(self._wall, self.clock.now())
        self._fire(self._steady, self.clock.steady())
        self._arm()

    def close(self) -> None:
        """Call nothing any more."""
        self._wall.clear()
        self._steady.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _push(
        self, heap: list[tuple[float, int, Timer]], due: float, call: Callable[[], None], seconds: float
    ) -> Timer:
        if self.cancelled > MANY and self.cancelled * 2 > len(self._wall) + len(self._steady):
            self._sweep()
        timer = Timer(call, self)
        heapq.heappush(heap, (due, next(self._numbers), timer))
        at = self.loop.time() + min(max(seconds, 0.0), LOOK_SECONDS)
        if self._handle is None or at < self._armed - 0.0005:
            self._set(at)
        return timer

    def _sweep(self) -> None:
        """Take out what was cancelled: most steps end long before their timeout."""
        for heap in (self._wall, self._steady):
            heap[:] = [item for item in heap if item[2].call is not None]
            heapq.heapify(heap)
        self.cancelled = 0

    def _set(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = at
        self._handle = self.loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._handle = None
        self.poke()

    def _fire(self, heap: list[tuple[float, int, Timer]], now: float) -> None:
        while heap and (heap[0][2].call is None or heap[0][0] <= now):
            timer = heapq.heappop(heap)[2]
            call, timer.call = timer.call, None
            if call is None:
                self.cancelled -= 1
            else:
                call()

    def _arm(self) -> None:
        waits: list[float] = []
        if self._wall:
            waits.append((self._wall[0][0] - self.clock.now()) / 1_000)
        if self._steady:
            waits.append(self._steady[0][0] - self.clock.steady())
        if waits:
            self._set(self.loop.time() + min(max(0.001, min(waits)), LOOK_SECONDS))
