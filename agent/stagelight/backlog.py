"""The backlog: what waits between the app's threads and the worker, one bounded queue for each signal, all counted.

At every moment `produced == delivered + dropped + queued`.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from stagelight.lines import Line
from stagelight.scope import Scope

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from stagelight.settings import SignalLimits

Item: TypeAlias = "Scope | Line | ReadableSpan"
"""A start, a line or a finished span."""

T = TypeVar("T")

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


class Queue(Generic[T]):
    """What waits of one signal."""

    __slots__ = ("batch", "capacity", "items", "removed", "settled")

    def __init__(self, limits: SignalLimits) -> None:
        self.capacity = limits.queue
        self.batch = limits.batch
        self.items: deque[T] = deque()
        self.removed = 0
        """How many items have ever left it."""
        self.settled = 0
        """How many of those were delivered or dropped."""

    def __len__(self) -> int:
        return len(self.items)


class Backlog:
    """Two bounded queues for many producers and one worker: finished spans, and the records of starts and lines.

    When that of records is full, lines go first; then the starts of spans that have ended (the finished span says it
    all); then what comes is refused. A full queue of spans refuses. Everything that goes is counted by its reason.
    """

    def __init__(self, spans: SignalLimits, records: SignalLimits) -> None:
        # Reentrant: a signal handler or a finaliser may record something while this thread holds it.
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)
        self.spans: Queue[ReadableSpan] = Queue(spans)
        self.records: Queue[Scope | Line] = Queue(records)
        self._produced = 0
        self._delivered = 0
        self._taken = 0
        self._characters = 0
        self._dropped: dict[str, int] = {}
        self._refusals = 0
        self._is_abandoned = False

    def __len__(self) -> int:
        return len(self.spans.items) + len(self.records.items)

    def add(self, item: Item) -> bool:
        """Append an item, or count it as dropped; say whether a worker that sleeps should hear of it.

        That is so of the first item of a queue, and of one that makes a batch full.
        """
        kind = type(item)
        with self._lock:
            self._produced += 1
            if kind is not Line and not isinstance(item, Scope):
                queue: Queue[Any] = self.spans
                accepts = len(queue.items) < queue.capacity
            else:
                queue = self.records
                accepts = len(queue.items) < queue.capacity or (kind is not Line and self._make_room())
                accepts = accepts and (kind is not Line or self._bears(item))  # type: ignore[arg-type]  # the type was just compared
            if not accepts:
                self._drop("queue_full", 1)
                return False
            queue.items.append(item)
            count = len(queue.items)
        return count in {1, queue.batch}

    def _bears(self, line: Line) -> bool:
        if not self.records.items:
            self._characters = 0
        weight = line.weight
        if self._characters + weight > _MOST_CHARACTERS:
            return False
        self._characters += weight
        return True

    def _make_room(self) -> bool:
        """Look for records that a start may take the place of; rarely, as it looks at all."""
        self._refusals += 1
        if self._refusals % _REFUSALS_BETWEEN_SWEEPS != 1:
            return False
        queue = self.records
        for is_expendable in (_is_line, _is_superseded):
            kept = deque(kept for kept in queue.items if not is_expendable(kept))
            if freed := len(queue.items) - len(kept):
                self._drop("queue_full" if is_expendable is _is_line else "superseded", freed)
                queue.items = kept
                queue.removed += freed
                self._characters = 0 if is_expendable is _is_line else self._characters
                self._refusals = 0
                self._note()
                return True
        return False

    def take(self, queue: Queue[T]) -> list[T]:
        """Remove a batch, oldest first; what was taken stays queued in the count until it is settled."""
        with self._lock:
            count = min(queue.batch, len(queue.items))
            self._taken += count
            queue.removed += count
            taken = [queue.items.popleft() for _ in range(count)]
            self._characters -= sum(item.weight for item in taken if isinstance(item, Line))
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
            self._note()

    def forfeit(self, reason: str) -> None:
        """Drop what was taken and not settled."""
        self.settle(dropped=self._taken, reason=reason)

    def abandon(self, reason: str) -> int:
        """Drop all that is queued or taken; return how many items that were."""
        with self._lock:
            count = len(self) + self._taken
            for queue in (self.spans, self.records):
                queue.removed += len(queue.items)
                queue.items.clear()
            self._taken = 0
            self._is_abandoned = True
            if count:
                self._drop(reason, count)
            self._note()
            return count

    def _note(self) -> None:
        """Between two batches all that has ever left the queues is settled: tell who waits for it."""
        if not self._taken:
            for queue in (self.spans, self.records):
                queue.settled = queue.removed
            self._settled.notify_all()

    def _drop(self, reason: str, count: int) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def wait_until_settled(self, timeout: float) -> bool:
        """Wait until everything that is here now was delivered or dropped; `timeout` is seconds."""
        with self._lock:
            targets = [(queue, queue.removed + len(queue.items)) for queue in (self.spans, self.records)]
            return self._settled.wait_for(
                lambda: all(queue.settled >= target for queue, target in targets), timeout
            )

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
        return not len(self) and not self._taken

    def stats(self, faults: int) -> Stats:
        """Return all counts at one moment."""
        with self._lock:
            return Stats(
                produced=self._produced,
                delivered=self._delivered,
                dropped=self.dropped,
                queued=len(self) + self._taken,
                dropped_by_reason=dict(self._dropped),
                faults=faults,
            )


def _is_line(item: Item) -> bool:
    return type(item) is Line


def _is_superseded(item: Item) -> bool:
    return isinstance(item, Scope) and not item.span.is_recording()
