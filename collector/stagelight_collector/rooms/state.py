"""The state of a run: a pure reducer over its events.

Any order, any duplicates, same final state. Every field is a join of a semilattice: the earliest, the latest, the
greatest, a set. So a start that comes late cannot reopen a step that has ended, and a batch that comes twice changes
nothing. Bounds that leave something out keep what sorts first or last, not what came first; the one exception is the
number of steps, of which the first to come are kept.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight.conventions import DROPPED, EventType, RunStatus, StepStatus
from stagelight_collector.rooms.registers import Attributes, Earliest, Ending, Progress
from stagelight_collector.rooms.step import Step

if TYPE_CHECKING:
    from stagelight.events import Event

MAX_STEPS: Final = 10_000
MAX_LOGS: Final = 1_000
MAX_TRACES: Final = 16

_ACTIVE: Final = frozenset({StepStatus.RUNNING, StepStatus.WAITING})
_MANY: Final = 32
"""Of more active steps than this no single one is what the run is at."""
_RUN_ENDINGS: Final = {
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_TERMINATED: RunStatus.TERMINATED,
}
_PHASES: Final = {
    EventType.RUN_CREATED: (0, RunStatus.PENDING),
    EventType.RUN_QUEUED: (1, RunStatus.QUEUED),
    EventType.RUN_STARTED: (2, RunStatus.RUNNING),
    EventType.RUN_RESUMED: (3, RunStatus.RUNNING),
    EventType.RUN_WAITING: (4, RunStatus.WAITING),
    EventType.RUN_PAUSED: (5, RunStatus.PAUSED),
}


@dataclass(slots=True, frozen=True, order=True)
class LogLine:
    """One line that a run wrote."""

    time: int
    message: str
    step_id: str = ""
    severity: str = ""
    attributes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, event: Event) -> LogLine:
        """Read the line from its event."""
        attributes = tuple(sorted((key, str(value)) for key, value in event.attributes.items()))
        step_id = event.step_id or event.span_id
        return cls(event.time, event.message, step_id, event.severity, attributes)


@dataclass(slots=True)
class Change:
    """What an event did to a run."""

    run: bool = False
    """The run itself changed, not only its step counts."""
    step: Step | None = None
    log: LogLine | None = None

    def __bool__(self) -> bool:
        return self.run or self.step is not None or self.log is not None


@dataclass(slots=True)
class Run:
    """The state of one run."""

    id: str
    workflow: Earliest = field(default_factory=Earliest)
    service: Earliest = field(default_factory=Earliest)
    parent_run: Earliest = field(default_factory=Earliest)
    parent_step: Earliest = field(default_factory=Earliest)
    trace_ids: list[str] = field(default_factory=list[str])
    first: int | None = None
    """The time of the earliest event."""
    last: int = 0
    """The time of the latest event."""
    began: int | None = None
    """The earliest time of start."""
    ending: Ending | None = None
    resumed: int = -1
    phase: tuple[int, int, RunStatus] | None = None
    attributes: Attributes = field(default_factory=Attributes)
    progress: Progress | None = None
    dropped_by_agent: int = 0
    steps: dict[str, Step] = field(default_factory=dict[str, Step])
    counts: dict[StepStatus, int] = field(default_factory=lambda: dict.fromkeys(StepStatus, 0))
    active: dict[str, Step] = field(default_factory=dict[str, Step])
    """The steps that run or wait."""
    logs: list[LogLine] = field(default_factory=list[LogLine])
    steps_left_out: bool = False
    logs_left_out: bool = False

    @property
    def started(self) -> int | None:
        """When the run started, or when it was first heard of; Unix nanoseconds."""
        return self.first if self.began is None else self.began

    @property
    def final(self) -> Ending | None:
        """How the run ended; None while it goes on. Only a resume after it takes it back, never a late start."""
        if self.ending is None or self.resumed > self.ending.time:
            return None
        return self.ending

    @property
    def status(self) -> RunStatus:
        """Where the run is."""
        if final := self.final:
            return RunStatus(final.status)
        if self.phase is not None:
            return self.phase[2]
        return RunStatus.RUNNING if self.steps else RunStatus.PENDING

    @property
    def at(self) -> str:
        """The name of the step that the run is at: the one that started last of those that run, if they are few."""
        if not 0 < len(self.active) <= _MANY:
            return ""
        return max(self.active.values(), key=lambda step: (step.started or 0, step.id)).name.value

    def apply(self, event: Event) -> Change:
        """Take an event of this run; return what changed, falsy where nothing did."""
        change = Change()
        self._see(event, change)
        if event.type is EventType.LOG:
            change.log = self._log(event)
        if event.step_id and event.type is not EventType.LOG:
            change.step = self._step(event)
        elif event.type is not EventType.LOG:
            change.run |= self._apply_run(event)
        return change

    def _see(self, event: Event, change: Change) -> None:
        if event.time:
            before = (self.first, self.last)
            self.first = event.time if self.first is None else min(self.first, event.time)
            self.last = max(self.last, event.time)
            change.run |= before != (self.first, self.last)
        change.run |= self.workflow.merge(event.time, event.workflow)
        change.run |= self.service.merge(event.time, event.service)
        if event.trace_id and event.trace_id not in self.trace_ids:
            bisect.insort(self.trace_ids, event.trace_id)
            change.run |= event.trace_id in self.trace_ids[:MAX_TRACES]
            del self.trace_ids[MAX_TRACES:]

    def _apply_run(self, event: Event) -> bool:
        changed = self.parent_run.merge(event.time, event.parent_run_id)
        changed |= self.parent_step.merge(event.time, event.parent_step_id)
        if event.type is EventType.HEARTBEAT:
            return self._heartbeat(event)
        changed |= self.attributes.merge(event)
        if event.type is EventType.PROGRESS:
            report = Progress.of(event)
            if report is not None and report.after(self.progress):
                self.progress, changed = report, True
        return changed | self._apply_phase(event)

    def _apply_phase(self, event: Event) -> bool:
        before = (self.status, self.began, self.final)
        if status := _RUN_ENDINGS.get(event.type):
            ending = Ending.of(event, status.value)
            self.ending = ending if self.ending is None else max(self.ending, ending)
        elif phase := _PHASES.get(event.type):
            candidate = (event.time, *phase)
            self.phase = candidate if self.phase is None else max(self.phase, candidate)
        if event.type is EventType.RUN_RESUMED:
            self.resumed = max(self.resumed, event.time)
        if event.type is EventType.RUN_STARTED:
            self.began = event.time if self.began is None else min(self.began, event.time)
        return before != (self.status, self.began, self.final)

    def _heartbeat(self, event: Event) -> bool:
        dropped = event.attributes.get(DROPPED)
        if not isinstance(dropped, int) or dropped <= self.dropped_by_agent:
            return False
        self.dropped_by_agent = dropped
        return True

    def _step(self, event: Event) -> Step | None:
        step = self.steps.get(event.step_id)
        before = None if step is None else step.status
        if step is None:
            if len(self.steps) >= MAX_STEPS:
                self.steps_left_out = True
                return None
            step = self.steps[event.step_id] = Step(event.step_id)
        changed = step.apply(event)
        after = step.status
        if before is not after:
            if before is not None:
                self.counts[before] -= 1
            self.counts[after] += 1
            if after in _ACTIVE:
                self.active[step.id] = step
            else:
                self.active.pop(step.id, None)
        return step if changed or before is not after else None

    def _log(self, event: Event) -> LogLine | None:
        line = LogLine.of(event)
        place = bisect.bisect_left(self.logs, line)
        if place < len(self.logs) and self.logs[place] == line:
            return None
        self.logs.insert(place, line)
        if len(self.logs) > MAX_LOGS:
            self.logs_left_out = True
            if self.logs.pop(0) is line:
                return None
        return line
