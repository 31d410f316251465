"""The backlog: the one bounded queue between the app's threads and the worker, which counts every item.

At every moment `produced == delivered + dropped + queued`.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from stagelight.lines import Line
from stagelight.scope import Scope

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

Item: TypeAlias = "Scope | Line | ReadableSpan"
"""A start, a line or a finished span."""

_MOST_CHARACTERS: Final = 16 * 1024 * 1024
"""Of all queued lines together; long lines fill the queue before their number does."""
_REFUSALS_BETWEEN_SWEEPS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What became of everything that was recorded: `produced == delivered + dropped + queued`."""

    produced: int
    delivered: int
    dropped: int
    queued: int
    dropped_by_reason: dict[str, int]
    faults: int
    """How many faults of the agent itself were contained."""


class Backlog:
    """A bounded queue for many producers and one worker.

    When it is full, lines go first; then the starts of spans that have ended (the finished span says it all); then
    what comes is refused. Everything that goes is counted by its reason.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # Reentrant: a signal handler or a finaliser may record something while this thread holds it.
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)
        self._queue: deque[Item] = deque()
        self._produced = 0
        self._delivered = 0
        self._taken = 0
        self._removed = 0
        self._characters = 0
        self._dropped: dict[str, int] = {}
        self._refusals = 0
        self._is_abandoned = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: Item) -> None:
        """Append an item, or count it as dropped."""
        with self._lock:
            self._produced += 1
            if type(item) is Line and not self._bears(item):
                self._drop("queue_full", 1)
                return
            if len(self._queue) >= self._capacity and not self._make_room(item):
                self._drop("queue_full", 1)
                return
            self._queue.append(item)

    def _bears(self, line: Line) -> bool:
        if not self._queue:
            self._characters = 0
        weight = line.weight
        if self._characters + weight > _MOST_CHARACTERS:
            return False
        self._characters += weight
        return True

    def _make_room(self, item: Item) -> bool:
        if type(item) is Line:
            return False
        self._refusals += 1
        if self._refusals % _REFUSALS_BETWEEN_SWEEPS != 1 and self._refusals != 1:
            return False
        for is_expendable in (_is_line, _is_superseded):
            kept = deque(kept for kept in self._queue if not is_expendable(kept))
            if freed := len(self._queue) - len(kept):
                self._drop("queue_full" if is_expendable is _is_line else "superseded", freed)
                self._queue = kept
                self._removed += freed
                self._characters = 0 if is_expendable is _is_line else self._characters
                self._refusals = 0
                return True
        return False

    def take(self, most: int) -> list[Item]:
        """Remove up to `most` items, oldest first; they stay queued in the count until they are settled."""
        with self._lock:
            count = min(most, len(self._queue))
            self._taken += count
            self._removed += count
            taken = [self._queue.popleft() for _ in range(count)]
            self._characters -= sum(item.weight for item in taken if type(item) is Line)
            return taken

    def lend(self, count: int) -> None:
        """Count items that the worker itself made."""
        with self._lock:
            self._produced += count
            self._taken += count

    def settle(self, *, delivered: int = 0, dropped: int = 0, reason: str = "") -> None:
        """Count what became of items that were taken."""
        with self._lock:
            if self._is_abandoned:
                return
            self._taken -= delivered + dropped
            self._delivered += delivered
            if dropped:
                self._drop(reason, dropped)
            self._settled.notify_all()

    def forfeit(self, reason: str) -> None:
        """Drop what was taken and not settled."""
        self.settle(dropped=self._taken, reason=reason)

    def abandon(self, reason: str) -> int:
        """Drop all that is queued or taken; return how many items that were."""
        with self._lock:
            count = len(self._queue) + self._taken
            self._removed += len(self._queue)
            self._queue.clear()
            self._taken = 0
            self._is_abandoned = True
            if count:
                self._drop(reason, count)
            self._settled.notify_all()
            return count

    def _drop(self, reason: str, count: int) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def wait_until_settled(self, timeout: float) -> bool:
        """Wait until everything that is here now was delivered or dropped; `timeout` is seconds."""
        with self._lock:
            target = self._removed + len(self._queue)
            return self._settled.wait_for(lambda: self._removed - self._taken >= target, timeout)

    @property
    def dropped(self) -> int:
        """How many items were dropped, for whatever reason."""
        return sum(self._dropped.values())

    @property
    def overflowed(self) -> bool:
        """Whether anything was dropped because the queue was full."""
        return "queue_full" in self._dropped

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued and nothing is on its way."""
        return not self._queue and not self._taken

    def stats(self, faults: int) -> Stats:
        """Return all counts at one moment."""
        with self._lock:
            return Stats(
                produced=self._produced,
                delivered=self._delivered,
                dropped=self.dropped,
                queued=len(self._queue) + self._taken,
                dropped_by_reason=dict(self._dropped),
                faults=faults,
            )


def _is_line(item: Item) -> bool:
    return type(item) is Line


def _is_superseded(item: Item) -> bool:
    return isinstance(item, Scope) and not item.span.is_recording()
