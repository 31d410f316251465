"""A room: the state of one run, and the channel that tells of its changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stagelight_collector.encoding import encode
from stagelight_collector.rooms import view
from stagelight_collector.rooms.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight.events import Event
    from stagelight_collector.rooms.state import Change, Run
    from stagelight_collector.rooms.step import Step


@dataclass(slots=True)
class Room:
    """One run while it is in memory."""

    run: Run
    channel: Channel = field(default_factory=Channel)
    whole: bool = True
    """Whether memory holds all of the run; False while earlier events may lie in history alone."""
    touched: float = 0.0
    """When the last event came, in seconds of the hub's clock."""
    seq: int = 0
    """The latest batch that an event came in."""
    pins: int = 0
    """How many are about to use the room; while there are any it stays in memory."""
    watched: float = float("-inf")
    """When the last viewer left."""
    listed: bool = False
    """Whether what the lobby says of the run came from here."""
    retelling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while what the channel did not keep is made again."""
    retold: bool = False
    """Whether somebody went on with what was made again, and may lack what only history has."""
    _snapshot: bytes = b""
    _summary: dict[str, Any] | None = None
    _steps: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def apply(self, event: Event) -> Change:
        """Take an event; return what changed."""
        change = self.run.apply(event)
        if change:
            self._snapshot, self._summary = b"", None
        if change.step is not None:
            self._steps.pop(change.step.id, None)
        return change

    def summary(self) -> dict[str, Any]:
        """Return the run without its steps, made again only when something has changed; nobody may write to it."""
        if self._summary is None:
            self._summary = view.run_view(self.run)
        return self._summary

    def describe(self, event: Event, change: Change) -> bytes:
        """Return the message of an event: what happened, and the new state of what it happened to."""
        return b'{"room":%b,"run":%b,"step":%b,"log":%b,"event":%b}' % (
            encode(self.run.id),
            encode(view.run_view(self.run)),
            self._step(change.step) if change.step else b"null",
            encode(view.log_view(change.log)) if change.log else b"null",
            encode(event.to_dict()),
        )

    def encode_ahead(self, portion: int) -> Iterator[None]:
        """Encode the steps for the next snapshot, pausing after each portion of so many."""
        for number, step in enumerate(list(self.run.steps.values()), start=1):
            self._step(step)
            if number % portion == 0:
                yield

    def snapshot(self) -> bytes:
        """Return the whole state as one message. What has not changed is not encoded again."""
        self._snapshot = self._snapshot or self._encode()
        return self._snapshot

    def _encode(self) -> bytes:
        return b'{"room":%b,"run":%b,"steps":[%b],"logs":%b,"truncated":%b}' % (
            encode(self.run.id),
            encode(view.run_view(self.run)),
            b",".join(map(self._step, view.in_order(self.run.steps))),
            encode([view.log_view(line) for line in self.run.logs]),
            encode(view.truncated_view(self.run)),
        )

    def _step(self, step: Step) -> bytes:
        encoded = self._steps.get(step.id)
        if encoded is None:
            encoded = self._steps[step.id] = encode(view.step_view(step))
        return encoded
