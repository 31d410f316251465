"""Which run an event belongs to, when it does not say so itself.

Every event with a run id belongs to that run. Others belong to the run of their trace; where that is not known yet
they wait for it, bounded in number and time. A trace in which a step appears but no run does is itself the run.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from stagelight.conventions import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stagelight.events import Event

PATIENCE_NS: Final = 2_000_000_000
"""How long an event waits for its run to become known."""


class Waiting(NamedTuple):
    """An event whose run is not known yet."""

    since: int
    seq: int
    event: Event


@dataclass(slots=True)
class Attribution:
    """Finds runs by trace. Not thread-safe; time is passed in (nanoseconds of any one clock)."""

    max_traces: int = 100_000
    max_waiting: int = 10_000
    dropped: int = 0
    """Events that no run was found for: log lines of traces that are no workflow, and what the bound left out."""
    _runs: OrderedDict[str, str] = field(default_factory=OrderedDict[str, str])
    _waiting: OrderedDict[str, list[Waiting]] = field(default_factory=OrderedDict[str, "list[Waiting]"])
    _count: int = 0

    @property
    def waiting(self) -> int:
        """How many events wait for their run."""
        return self._count

    @property
    def held(self) -> int | None:
        """The journal's number of the oldest batch of which an event still waits."""
        for waiting in self._waiting.values():
            return waiting[0].seq
        return None

    def learn(self, trace_id: str, run_id: str) -> None:
        """Remember the run of a trace; the first one learnt stays."""
        self._runs.setdefault(trace_id, run_id)
        if len(self._runs) > self.max_traces:
            self._runs.popitem(last=False)

    def resolve(self, events: Iterable[Event], now: int, seq: int = 0) -> list[Event]:
        """Return the events of batch `seq` whose run is known, with it; keep back those that wait."""
        resolved: list[Event] = []
        for event in events:
            if event.run_id:
                resolved.append(event)
                if self._names_its_trace(event):
                    self.learn(event.trace_id, event.run_id)
                    resolved += self._release(event.trace_id, event.run_id)
            elif run_id := self._runs.get(event.trace_id):
                resolved.append(replace(event, run_id=run_id))
            elif event.type in _AT_ROOT and event.trace_id:
                self.learn(event.trace_id, event.trace_id)
                resolved.append(replace(event, run_id=event.trace_id))
                resolved += self._release(event.trace_id, event.trace_id)
            else:
                self._wait(Waiting(now, seq, event))
        return resolved

    def expire(self, now: int) -> list[Event]:
        """Return the steps that have waited long enough: their trace is their run. Forget the log lines."""
        resolved: list[Event] = []
        while self._waiting:
            trace_id, waiting = next(iter(self._waiting.items()))
            if now - waiting[0].since < PATIENCE_NS:
                break
            if any(item.event.step_name for item in waiting):
                self.learn(trace_id, trace_id)
                resolved += self._release(trace_id, trace_id)
            else:
                self._count -= len(self._waiting.pop(trace_id))
                self.dropped += len(waiting)
        return resolved

    def _names_its_trace(self, event: Event) -> bool:
        """Whether this event tells which run the other, unmarked, events of its trace belong to."""
        if not event.trace_id or event.trace_id in self._runs:
            return False
        return event.run_id == event.trace_id or (event.type in _AT_ROOT and not event.parent_run_id)

    def _wait(self, item: Waiting) -> None:
        if self._count >= self.max_waiting:
            self.dropped += 1
            return
        self._waiting.setdefault(item.event.trace_id, []).append(item)
        self._count += 1

    def _release(self, trace_id: str, run_id: str) -> list[Event]:
        waiting = self._waiting.pop(trace_id, [])
        self._count -= len(waiting)
        return [replace(item.event, run_id=run_id) for item in waiting]


_AT_ROOT: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))
"""A run event without a run id: the trace is the run."""
