"""The state of a run: a pure reducer over its events.

Any order, any duplicates, same final state. Every field is a join of a semilattice: the earliest, the latest, the
greatest, a set. So a start that comes late cannot reopen a step that has ended, and a batch that comes twice changes
nothing. Bounds that leave something out keep what sorts first or last, not what came first; the one exception is the
number of steps, of which the first to come are kept.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import DROPPED, EventType, RunStatus, StepStatus
from stagelight.events import Failure

if TYPE_CHECKING:
    from stagelight.events import Event

MAX_STEPS: Final = 10_000
MAX_ATTEMPTS: Final = 100
MAX_LOGS: Final = 1_000
MAX_ATTRIBUTES: Final = 128
MAX_TRACES: Final = 16


@dataclass(slots=True)
class Earliest:
    """The non-empty text with the smallest time; equal times are settled by the text."""

    key: tuple[int, str] | None = None

    @property
    def value(self) -> str:
        """The text, empty where none was seen."""
        return self.key[1] if self.key else ""

    def merge(self, time: int, value: str) -> bool:
        """Take a candidate; return whether the text changed."""
        if not value or (self.key is not None and (time, value) >= self.key):
            return False
        before, self.key = self.value, (time, value)
        return before != value


@dataclass(slots=True)
class Attributes:
    """The latest value by key; bounded by leaving out the keys that sort last."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    _keys: dict[str, tuple[int, str]] = field(default_factory=dict[str, "tuple[int, str]"])

    def merge(self, event: Event) -> bool:
        """Take an event's attributes; return whether any value changed."""
        changed = False
        for name, value in event.attributes.items():
            if len(self.values) >= MAX_ATTRIBUTES and name not in self.values and name > max(self.values):
                continue
            key = (event.time, repr(value))
            if key > self._keys.get(name, (-1, "")):
                self._keys[name] = key
                changed |= name not in self.values or self.values[name] != value
                self.values[name] = value
        while len(self.values) > MAX_ATTRIBUTES:
            last = max(self.values)
            del self.values[last], self._keys[last]
        return changed


@dataclass(slots=True, frozen=True, order=True)
class Ending:
    """How something ended; the greatest wins."""

    time: int
    status: str
    error_key: tuple[str, str, str] = ("", "", "")

    @property
    def error(self) -> Failure | None:
        """The failure, if it was one."""
        if self.error_key == ("", "", ""):
            return None
        return Failure(type=self.error_key[0], message=self.error_key[1], stacktrace=self.error_key[2])

    @classmethod
    def of(cls, event: Event, status: str) -> Ending:
        """Read the ending from a terminal event."""
        error = event.error
        return cls(
            event.time, status, (error.type, error.message, error.stacktrace) if error else ("", "", "")
        )


@dataclass(slots=True, frozen=True, order=True)
class Progress:
    """How far something has come; the latest wins."""

    time: int
    current: float
    total: float | None
    message: str

    @classmethod
    def of(cls, event: Event) -> Progress | None:
        """Read a progress report; None where the event carries only attributes."""
        if event.current is None and not event.message:
            return None
        return cls(event.time, -1.0 if event.current is None else event.current, event.total, event.message)

    def after(self, other: Progress | None) -> bool:
        """Whether this report replaces another."""
        return other is None or self.key() > other.key()

    def key(self) -> tuple[int, float, float, str]:
        """What reports are ordered by."""
        return (self.time, self.current, -1.0 if self.total is None else self.total, self.message)


@dataclass(slots=True, frozen=True, order=True)
class LogLine:
    """One line that a run wrote."""

    time: int
    message: str
    step_id: str = ""
    severity: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Attempt:
    """One try of a step."""

    started: int | None = None
    ending: Ending | None = None

    @property
    def status(self) -> StepStatus:
        """Where this attempt is."""
        if self.ending is not None:
            return StepStatus(self.ending.status)
        return StepStatus.PENDING if self.started is None else StepStatus.RUNNING

    def start(self, time: int) -> bool:
        """Take a time of start; the earliest stays."""
        if self.started is not None and self.started <= time:
            return False
        self.started = time
        return True

    def end(self, ending: Ending) -> bool:
        """Take an ending; the greatest stays."""
        if self.ending is not None and self.ending >= ending:
            return False
        self.ending = ending
        return True


_STEP_ENDINGS: Final = {
    EventType.STEP_COMPLETED: StepStatus.COMPLETED,
    EventType.STEP_FAILED: StepStatus.FAILED,
    EventType.STEP_SKIPPED: StepStatus.SKIPPED,
    EventType.ATTEMPT_FAILED: StepStatus.FAILED,
}
_STEP_STARTS: Final = frozenset({EventType.STEP_STARTED, EventType.ATTEMPT_STARTED})
_WAITS: Final = frozenset({EventType.SLEEP_STARTED, EventType.WAIT_STARTED})
_WAKES: Final = frozenset({EventType.SLEEP_COMPLETED, EventType.WAIT_COMPLETED, EventType.WAIT_TIMED_OUT})


@dataclass(slots=True)
class Step:
    """The state of one step."""

    id: str
    name: Earliest = field(default_factory=Earliest)
    kind: Earliest = field(default_factory=Earliest)
    parent: Earliest = field(default_factory=Earliest)
    child_run: Earliest = field(default_factory=Earliest)
    attempts: dict[int, Attempt] = field(default_factory=dict[int, Attempt])
    attributes: Attributes = field(default_factory=Attributes)
    progress: Progress | None = None
    slept: int = -1
    """When it last began to wait."""
    woke: int = -1
    """When it last stopped waiting."""

    @property
    def attempt(self) -> int:
        """The number of the latest attempt."""
        return max(self.attempts, default=1)

    @property
    def last(self) -> Attempt:
        """The latest attempt."""
        return self.attempts.get(self.attempt) or Attempt()

    @property
    def started(self) -> int | None:
        """When the first attempt started, Unix nanoseconds."""
        return min((a.started for a in self.attempts.values() if a.started is not None), default=None)

    @property
    def ended(self) -> int | None:
        """When the latest attempt ended, Unix nanoseconds."""
        ending = self.last.ending
        return ending.time if ending else None

    @property
    def status(self) -> StepStatus:
        """Where the step is: where its latest attempt is, or waiting."""
        status = self.last.status
        if self.slept > self.woke and status in {StepStatus.RUNNING, StepStatus.PENDING}:
            return StepStatus.WAITING
        return status

    def apply(self, event: Event) -> bool:
        """Take an event about this step; return whether anything changed."""
        changed = self.name.merge(event.time, event.step_name)
        changed |= self.kind.merge(event.time, event.step_kind)
        changed |= self.parent.merge(event.time, event.parent_step_id)
        changed |= self.child_run.merge(event.time, event.child_run_id)
        if event.type is not EventType.LOG:
            changed |= self.attributes.merge(event)
        changed |= self._apply_attempt(event)
        changed |= self._apply_wait(event)
        if event.type is EventType.PROGRESS:
            report = Progress.of(event)
            if report is not None and report.after(self.progress):
                self.progress, changed = report, True
        return changed

    def _apply_attempt(self, event: Event) -> bool:
        status = _STEP_ENDINGS.get(event.type)
        if event.type not in _STEP_STARTS and status is None:
            return False
        number = max(1, event.attempt)
        if len(self.attempts) >= MAX_ATTEMPTS and number not in self.attempts:
            if number < min(self.attempts):
                return False
            del self.attempts[min(self.attempts)]
        attempt = self.attempts.setdefault(number, Attempt())
        return attempt.start(event.time) if status is None else attempt.end(Ending.of(event, status.value))

    def _apply_wait(self, event: Event) -> bool:
        if event.type in _WAITS and event.time > self.slept:
            self.slept = event.time
            return True
        if event.type in _WAKES and event.time > self.woke:
            self.woke = event.time
            return True
        return False


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
            self.first = event.time if self.first is None else min(self.first, event.time)
            self.last = max(self.last, event.time)
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
        line = LogLine(
            event.time,
            event.message,
            event.step_id or event.span_id,
            event.severity,
            tuple(sorted((key, str(value)) for key, value in event.attributes.items())),
        )
        place = bisect.bisect_left(self.logs, line)
        if place < len(self.logs) and self.logs[place] == line:
            return None
        self.logs.insert(place, line)
        if len(self.logs) > MAX_LOGS:
            self.logs_left_out = True
            if self.logs.pop(0) is line:
                return None
        return line
