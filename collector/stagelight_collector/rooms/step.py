"""The state of a step: its attempts, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight.conventions import EventType, StepStatus
from stagelight_collector.rooms.registers import Attributes, Earliest, Ending, Progress

if TYPE_CHECKING:
    from stagelight.events import Event

MAX_ATTEMPTS: Final = 100


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
    def heard(self) -> int:
        """When it was first called by its name, Unix nanoseconds."""
        return self.name.key[0] if self.name.key else 0

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
