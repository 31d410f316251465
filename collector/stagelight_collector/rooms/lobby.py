"""The lobby: the list of the latest runs, and the channel that tells of its changes."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.encoding import encode
from stagelight_collector.rooms.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "lobby"
"""What viewers call it."""


def newest(summary: dict[str, Any]) -> tuple[float, str]:
    """Return what the list is ordered by."""
    return (summary["started_ms"] or 0.0, summary["id"])


@dataclass(slots=True)
class Lobby:
    """The newest runs, so many of them; the others are in history."""

    capacity: int
    publish: Callable[[Channel, str, bytes], None]
    channel: Channel = field(default_factory=Channel)
    _runs: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    _order: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """The places of all runs, the oldest first."""

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def tell(self, summary: dict[str, Any]) -> None:
        """Take the new state of a run, and tell the viewers."""
        if self.take(summary):
            self.publish(self.channel, "run", encode({"room": NAME, "run": summary}))

    def take(self, summary: dict[str, Any]) -> bool:
        """Take the state of a run; return False where it is too old for the list, or there already."""
        run_id = summary["id"]
        if self._runs.get(run_id) == summary:
            return False
        if not self.has_place(run_id, summary["started_ms"]):
            return False
        if run_id not in self._runs and len(self._runs) >= self.capacity:
            self.remove(self._order[0][1])
        self._leave(run_id)
        self._runs[run_id] = summary
        bisect.insort(self._order, newest(summary))
        return True

    def has_place(self, run_id: str, started_ms: float | None) -> bool:
        """Whether a run that started then is new enough for the list."""
        if run_id in self._runs or len(self._runs) < self.capacity:
            return True
        return self._order[0] < (started_ms or 0.0, run_id)

    def _leave(self, run_id: str) -> bool:
        """Take a run out; return whether it was there."""
        summary = self._runs.pop(run_id, None)
        if summary is None:
            return False
        del self._order[bisect.bisect_left(self._order, newest(summary))]
        return True

    def remove(self, run_id: str) -> None:
        """Take a run off the list, and tell the viewers."""
        if self._leave(run_id):
            self.publish(self.channel, "gone", encode({"room": NAME, "run_id": run_id}))

    def runs(self) -> list[dict[str, Any]]:
        """Return the list, newest first."""
        return sorted(self._runs.values(), key=newest, reverse=True)

    def snapshot(self) -> bytes:
        """Return the list as one message."""
        return encode({"room": NAME, "runs": self.runs()})
