"""A channel: a bounded ring of messages and the viewers that receive them. No I/O.

Publishing encodes once and never waits for a viewer. A viewer that falls behind its bounded queue loses the queue,
is marked as lagged, and is given a fresh snapshot when it next reads: it never holds up anybody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight.conventions import RUN_ENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RING: Final = 2_048
"""How many messages a channel keeps for those who resume."""
RING_BYTES: Final = 8 << 20
QUEUE: Final = 4_096
"""How many messages wait for one viewer before it counts as lagged."""
QUEUE_BYTES: Final = 16 << 20

STATES: Final = frozenset({"snapshot", "reset", "gone", "subscribed"})
"""Messages that say how things are, not what happened."""
UNFILTERED: Final = STATES | {"restarting", *RUN_ENDS}
"""What no filter hides."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message to viewers, encoded once."""

    seq: int
    type: str
    data: bytes
    """One line of JSON."""
    frames: dict[Framing, bytes] = field(default_factory=dict["Framing", bytes])
    """The message as each protocol sends it, made for the first viewer and sent to all."""

    def framed(self, framing: Framing) -> bytes:
        """Return the message as a protocol sends it."""
        frame = self.frames.get(framing)
        if frame is None:
            frame = self.frames[framing] = framing(self)
        return frame


Framing = Callable[[Message], bytes]


def wanted(kind: str, types: frozenset[str]) -> bool:
    """Whether a filter lets a type of message through; an empty one lets all."""
    return not types or kind in types or kind in UNFILTERED


def _nobody() -> None:
    """Stand in for a connection that is not there yet."""


@dataclass(slots=True, eq=False)
class Viewer:
    """One connection: a bounded queue over one or more channels."""

    types: frozenset[str] = frozenset()
    """Empty means all."""
    capacity: int = QUEUE
    names: list[str] = field(default_factory=list[str])
    """The rooms that it is in."""
    lagged: bool = False
    lags: int = 0
    ready: Callable[[], None] = _nobody
    """Called when there is something to take; once until it is taken."""
    look: Callable[[], None] = _nobody
    """Called about once a second, to see whether the connection or the runs have ended."""
    _told: bool = False
    _bytes: int = 0
    _queue: deque[Message] = field(default_factory=deque[Message])

    def wants(self, message: Message) -> bool:
        """Whether the filter lets a message through."""
        return wanted(message.type, self.types)

    def push(self, message: Message) -> None:
        """Queue a message; beyond the bound, drop the queue and mark the viewer as lagged."""
        if self.lagged or not self.wants(message):
            return
        self._bytes += len(message.data)
        if len(self._queue) >= self.capacity or self._bytes > QUEUE_BYTES:
            self.lag()
            return
        self._queue.append(message)
        self._tell()

    def lag(self) -> None:
        """Drop the queue: when it next reads, the viewer is given everything afresh."""
        self._clear()
        self.lagged = True
        self.lags += 1
        self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self.ready()

    def take(self) -> list[Message]:
        """Return what is queued."""
        taken = list(self._queue)
        self._clear()
        self._told = False
        return taken

    def _clear(self) -> None:
        self._queue.clear()
        self._bytes = 0


@dataclass(slots=True)
class Channel:
    """Messages in order of `seq`, the latest of them kept for those who resume."""

    capacity: int = RING
    viewers: set[Viewer] = field(default_factory=set[Viewer])
    missing: int = -1
    """Of the messages up to this number some are not in the ring."""
    _bytes: int = 0
    _ring: deque[Message] = field(default_factory=deque[Message])

    def publish(self, message: Message) -> None:
        """Keep a message and give it to every viewer."""
        self._keep(message)
        for viewer in self.viewers:
            viewer.push(message)

    def _keep(self, message: Message) -> None:
        self._ring.append(message)
        self._bytes += len(message.data)
        while len(self._ring) > self.capacity or self._bytes > RING_BYTES:
            oldest = self._ring.popleft()
            self._bytes -= len(oldest.data)
            self.missing = max(self.missing, oldest.seq)

    def since(self, seq: int, *, again: bool = False) -> Iterable[Message] | None:
        """Return the messages after `seq`, or None if some of them are gone.

        `again`: with those of `seq` itself, for messages that share a number and may be told twice.
        """
        first = seq if again else seq + 1
        if first <= self.missing:
            return None
        return [message for message in self._ring if message.seq >= first]

    def precede(self, messages: Sequence[Message], after: int) -> None:
        """Put messages before those that are kept: all there were after a number."""
        kept = list(self._ring)
        self.skip(after)
        for message in (*messages, *kept):
            self._keep(message)

    def skip(self, seq: int) -> None:
        """Note that the messages up to `seq` were not kept."""
        self._ring.clear()
        self._bytes = 0
        self.missing = seq
