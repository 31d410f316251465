"""Which run an event belongs to, when it does not say so itself.

Every event with a run id belongs to that run. Others belong to the run of their trace; where that is not known yet
they wait for it, bounded in number and time. A trace in which a step appears but no run does is itself the run.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from stagelight.conventions import EventType, StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stagelight.events import Event

PATIENCE_NS: Final = 2_000_000_000
"""How long an event waits for its run to become known."""


class Found(NamedTuple):
    """An event whose run is known."""

    seq: int
    """The journal's number of the batch that it came in, which may be an earlier one."""
    event: Event


class Waiting(NamedTuple):
    """An event whose run is not known yet."""

    since: int
    seq: int
    event: Event


@dataclass(slots=True)
class _Queue:
    """What waits, by trace, the oldest trace first."""

    traces: OrderedDict[str, list[Waiting]] = field(default_factory=OrderedDict[str, "list[Waiting]"])
    count: int = 0

    def add(self, trace_id: str, items: list[Waiting]) -> None:
        self.traces.setdefault(trace_id, []).extend(items)
        self.count += len(items)

    def pop(self, trace_id: str) -> list[Waiting]:
        items = self.traces.pop(trace_id, [])
        self.count -= len(items)
        return items

    def oldest(self) -> str:
        return next(iter(self.traces))

    def expired(self, now: int) -> str | None:
        """Return the oldest trace, if it has waited long enough."""
        for trace_id, items in self.traces.items():
            return trace_id if now - items[0].since >= PATIENCE_NS else None
        return None


@dataclass(slots=True)
class Attribution:
    """Finds runs by trace. Not thread-safe; time is passed in (nanoseconds of any one clock).

    Log lines of traces that are no workflow, by far the most of what waits in a busy system, have a bound of their
    own, so that they never push out a step. A step is never dropped: past the bound the oldest trace with a step
    counts as the run.
    """

    max_traces: int = 100_000
    """How many traces are remembered; the one that was asked for longest ago is forgotten."""
    max_waiting: int = 10_000
    """How many events of traces with a step wait, and as many log lines of other traces."""
    dropped: int = 0
    """Events that no run was found for: of no trace, lines of traces that are no workflow, and what the bound left out."""
    _runs: OrderedDict[str, str] = field(default_factory=OrderedDict[str, str])
    _steps: _Queue = field(default_factory=_Queue)
    """Traces in which a step appeared, with their log lines."""
    _lines: _Queue = field(default_factory=_Queue)
    """Traces of which only log lines are known."""

    @property
    def waiting(self) -> int:
        """How many events wait for their run."""
        return self._steps.count + self._lines.count

    @property
    def held(self) -> int | None:
        """The journal's number of the oldest batch of which an event still waits."""
        queues = (self._steps, self._lines)
        return min(
            (item.seq for queue in queues for items in queue.traces.values() for item in items), default=None
        )

    def learn(self, trace_id: str, run_id: str) -> None:
        """Remember the run of a trace; the first one learnt stays."""
        if not (trace_id and run_id):
            return
        self._runs.setdefault(trace_id, run_id)
        self._runs.move_to_end(trace_id)
        if len(self._runs) > self.max_traces:
            self._runs.popitem(last=False)

    def resolve(self, events: Iterable[Event], now: int, seq: int = 0) -> list[Found]:
        """Return the events whose run is known, with it; keep back those of batch `seq` that have to wait.

        Events of earlier batches that waited for one of these come with them.
        """
        found: list[Found] = []
        for event in events:
            if self._is_beside(event):
                continue
            known = self._known(event)
            if known is not None:
                found.append(Found(seq, known))
                if self._names_its_trace(known):
                    found += self._settle(known.trace_id, known.run_id)
            elif event.trace_id:
                found += self._wait(Waiting(now, seq, event))
            else:
                self.dropped += 1
        return found

    def settle(self, events: Iterable[Event]) -> list[Event]:
        """Return the events with their run, by what is known now: for a batch whose waiting is over.

        Steps of an unknown trace belong to it as their run; other events of it are left out.
        """
        settled: list[Event] = []
        for event in events:
            if self._is_beside(event):
                continue
            known = self._known(event)
            if known is None and event.trace_id and _says_step(event):
                known = replace(event, run_id=event.trace_id)
            if known is not None:
                settled.append(known)
                if self._names_its_trace(known):
                    self.learn(known.trace_id, known.run_id)
        return settled

    def expire(self, now: int) -> list[Found]:
        """Return the steps that have waited long enough: their trace is their run. Forget the log lines."""
        while trace_id := self._lines.expired(now):
            self.dropped += len(self._lines.pop(trace_id))
        found: list[Found] = []
        while trace_id := self._steps.expired(now):
            found += self._settle(trace_id, self._runs.get(trace_id, trace_id))
        return found

    def _is_beside(self, event: Event) -> bool:
        """Whether it is about the root of a trace whose run is another, which began inside it."""
        if event.step_kind != StepKind.SPAN or event.type not in _AT_ROOT:
            return False
        return self._runs.get(event.trace_id, event.trace_id) != event.trace_id

    def _known(self, event: Event) -> Event | None:
        """Return the event with its run, if that is known."""
        if event.run_id:
            return event
        if run_id := self._runs.get(event.trace_id):
            self._runs.move_to_end(event.trace_id)
            return replace(event, run_id=run_id)
        if event.type in _AT_ROOT and event.trace_id:
            return replace(event, run_id=event.trace_id)
        return None

    def _names_its_trace(self, event: Event) -> bool:
        """Whether this event tells which run the other, unmarked, events of its trace belong to."""
        if not event.trace_id or event.trace_id in self._runs:
            return False
        inside = event.parent_run_id or event.parent_step_id
        return event.run_id == event.trace_id or (event.type in _AT_ROOT and not inside)

    def _wait(self, item: Waiting) -> list[Found]:
        """Keep an event back; return those that have to make room for it."""
        trace_id = item.event.trace_id
        if trace_id in self._steps.traces or _says_step(item.event):
            self._steps.add(trace_id, [*self._lines.pop(trace_id), item])
        else:
            self._lines.add(trace_id, [item])
        while self._lines.count > self.max_waiting:
            self.dropped += len(self._lines.pop(self._lines.oldest()))
        found: list[Found] = []
        while self._steps.count > self.max_waiting:
            oldest = self._steps.oldest()
            found += self._settle(oldest, oldest)
        return found

    def _settle(self, trace_id: str, run_id: str) -> list[Found]:
        """Make a run the trace's; return what waited for it."""
        self.learn(trace_id, run_id)
        waiting = [*self._steps.pop(trace_id), *self._lines.pop(trace_id)]
        return [Found(item.seq, replace(item.event, run_id=run_id)) for item in waiting]


_AT_ROOT: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))
"""A run event without a run id: the trace is the run."""
_LINES: Final = frozenset({EventType.LOG, EventType.HEARTBEAT})


def _says_step(event: Event) -> bool:
    """Whether the event shows that its trace is a workflow."""
    if event.step_kind == StepKind.SPAN:
        return False
    return event.type not in _LINES or bool(event.step_name)
