"""What an instance remembers: a reducer over the records of its journal.

A record is what happened, once; the memory is what follows from all of them. The same code runs when something happens
and when the journal is read back, so the two cannot differ.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import orjson

from stagelight_plugins.engine.facts import EventName as E, StepState, StepType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Record = dict[str, Any]
"""`t` (an EventName), `at` (Unix ms), `o` (see `moment_of`), `s` `c` `k` (the step's name, count and type), `n` (the attempt), `g` (the restart, from the second life on), and what else it takes."""

_MS: Final = 1_000_000
"""Nanoseconds."""


def moment_of(record: Record) -> int:
    """Return when an event is said to have happened, Unix nanoseconds.

    The events of one instance are in the order of its journal, also those of one millisecond, and those after somebody has
    set the clock back: `o` is what the record is told later than `at` for that.
    """
    return int(record["at"]) * _MS + int(record.get("o", 0))


def first_record(created: int) -> Record:
    """Return what every journal begins with."""
    return {"t": E.WORKFLOW_QUEUED.value, "at": created}


def moments(record: Record) -> int:
    """Return how many nanoseconds a record has for itself: one for each event that it may become."""
    return 2 + len(record.get("cut", ()))


class StepKey(NamedTuple):
    """Which step: its results are found again by this, and by nothing else."""

    type: StepType
    name: str
    number: int

    @property
    def short(self) -> str:
        """The step as `name-count`."""
        return f"{self.name}-{self.number}"


@dataclass(slots=True, eq=False)
class Attempt:
    """One try."""

    number: int
    started: int
    ended: int = 0
    error: dict[str, str] | None = None
    retry_at: int = 0


@dataclass(slots=True, eq=False)
class StepMemory:
    """What is remembered of one step."""

    key: StepKey
    place: int
    """Which step began when."""
    started: int
    state: StepState = "running"
    ended: int = 0
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    output: Any = None
    sensitive: bool = False
    error: dict[str, Any] | None = None
    due: int = 0
    event_type: str = ""
    child: tuple[str, str] = ("", "")
    done: int = 0
    """Which step ended when; 0 while it has not."""
    ahead: bool = False
    """Whether it was skipped before it began."""
    rollback: str = ""
    """`running`, `completed` or `failed`, once its rollback handler was called."""
    rollback_attempts: int = 0

    @property
    def over(self) -> bool:
        """Whether it has a result."""
        return self.done > 0


@dataclass(slots=True, eq=False)
class Memory:
    """What is remembered of one instance since its last restart."""

    steps: dict[StepKey, StepMemory] = field(default_factory=dict[StepKey, StepMemory])
    mailbox: dict[str, deque[Record]] = field(default_factory=dict[str, deque[Record]])
    """Events that no step has taken, first in first out, by type."""
    mail: int = 0
    """How many these are."""
    generation: int = 1
    """1, and one more for each restart."""
    size: int = 0
    """Bytes of the journal."""
    next_moment: int = 0
    """The first nanosecond that is free for another event."""
    crashes: int = 0
    """How often the process ended while it ran."""
    rolling_back: bool = False
    final_error: dict[str, str] | None = None
    """Why the rollback began."""
    _ended: int = 0

    @classmethod
    def of_new(cls, created: int) -> Memory:
        """Return what an instance remembers that was created just now."""
        memory = cls()
        memory.apply(first_record(created))
        return memory

    def read(self, bodies: Iterable[bytes | str]) -> None:
        """Take rows of the journal."""
        for body in bodies:
            self.size += len(body)
            for record in orjson.loads(body):
                self.apply(record)

    def apply(self, record: Record) -> None:
        """Take one record."""
        self.next_moment = max(self.next_moment, moment_of(record) + moments(record))
        handler = self._HANDLERS.get(record["t"])
        if handler is not None:
            handler(self, record)

    def waiter(self, event_type: str) -> StepMemory | None:
        """Return the step that has waited longest for an event of this type."""
        for step in self.steps.values():
            if step.event_type == event_type and not step.over:
                return step
        return None

    def next_due(self) -> int | None:
        """Return when the instance must wake, if it must."""
        found = [step.due for step in self.steps.values() if step.due and not step.over]
        found += [
            a.retry_at
            for step in self.steps.values()
            if not step.over
            for a in step.attempts[-1:]
            if a.retry_at
        ]
        return min(found, default=None)

    # --- records --------------------------------------------------------------------------------------------------

    def _step(self, record: Record) -> StepMemory:
        key = StepKey(record["k"], record["s"], record["c"])
        step = self.steps.get(key)
        if step is None:
            step = self.steps[key] = StepMemory(key, len(self.steps), record["at"])
        return step

    def _end(self, record: Record, state: StepState) -> StepMemory:
        step = self._step(record)
        if not step.over:
            self._ended += 1
            step.done = self._ended
        step.state, step.ended, step.due = state, record["at"], 0
        return step

    def _started(self, record: Record) -> None:
        step = self._step(record)
        step.config, step.sensitive = record.get("config", {}), record.get("sensitive", False)
        step.attempts.append(Attempt(1, record["at"]))

    def _attempt_started(self, record: Record) -> None:
        step = self._step(record)
        step.state = "running"
        step.attempts.append(Attempt(record["n"], record["at"]))

    def _attempt_errored(self, record: Record) -> None:
        step = self._step(record)
        if step.attempts:
            attempt = step.attempts[-1]
            attempt.ended, attempt.error = record["at"], record["error"]
            attempt.retry_at = record.get("retry_at", 0)
        step.state = "waiting"

    def _completed(self, record: Record) -> None:
        step = self._end(record, "completed")
        step.output, step.error = record.get("output"), None
        if step.attempts:
            step.attempts[-1].ended = record["at"]

    def _errored(self, record: Record) -> None:
        step = self._end(record, "failed")
        step.error = record["error"]
        for attempt in step.attempts[-1:]:
            attempt.ended, attempt.error = record["at"], record["error"]

    def _skipped(self, record: Record) -> None:
        step = self._end(record, "skipped")
        step.output, step.error, step.ahead = record.get("output"), None, record.get("ahead", False)

    def _sleep_started(self, record: Record) -> None:
        step = self._step(record)
        step.state, step.due = "waiting", record["due"]

    def _wait_started(self, record: Record) -> None:
        step = self._step(record)
        step.state, step.due, step.event_type = "waiting", record["due"], record["event_type"]

    def _wait_completed(self, record: Record) -> None:
        step = self._end(record, "completed")
        step.output = record["event"]
        if record.get("mailed"):
            self._take(step.event_type)

    def _take(self, event_type: str) -> None:
        box = self.mailbox.get(event_type)
        if box:
            box.popleft()
            self.mail -= 1
            if not box:
                del self.mailbox[event_type]

    def _event_received(self, record: Record) -> None:
        event = record["event"]
        self.mailbox.setdefault(event["type"], deque()).append(event)
        self.mail += 1

    def _wait_timed_out(self, record: Record) -> None:
        self._end(record, "failed").error = record["error"]

    def _child_started(self, record: Record) -> None:
        step = self._step(record)
        step.state, step.child = "waiting", (record["workflow"], record["id"])

    def _child_completed(self, record: Record) -> None:
        self._end(record, "completed").output = record.get("output")

    def _child_errored(self, record: Record) -> None:
        self._end(record, "failed").error = record["error"]

    def _restarted(self, record: Record) -> None:
        self.generation += 1
        place = record.get("from")
        kept = {
            key: step
            for key, step in self.steps.items()
            if place is not None and step.place < place and step.over
        }
        self.steps = kept
        for number, step in enumerate(kept.values()):
            step.place, step.rollback, step.rollback_attempts = number, "", 0
        self.mailbox, self.mail, self.rolling_back, self.final_error = {}, 0, False, None

    def _queued(self, record: Record) -> None:
        self.crashes += bool(record.get("interrupted"))

    def _rollback_started(self, record: Record) -> None:
        self.rolling_back, self.final_error = True, record.get("error")

    def _undo_attempt(self, record: Record) -> None:
        step = self._step(record)
        step.rollback, step.rollback_attempts = "running", record["n"]

    def _undone(self, record: Record) -> None:
        self._step(record).rollback = "completed"

    def _undo_failed(self, record: Record) -> None:
        self._step(record).rollback = "failed"

    _HANDLERS: ClassVar[dict[str, Callable[[Memory, Record], None]]] = {
        E.WORKFLOW_QUEUED: _queued,
        E.STEP_STARTED: _started,
        E.ATTEMPT_STARTED: _attempt_started,
        E.ATTEMPT_ERRORED: _attempt_errored,
        E.STEP_COMPLETED: _completed,
        E.STEP_ERRORED: _errored,
        E.STEP_SKIPPED: _skipped,
        E.SLEEP_STARTED: _sleep_started,
        E.SLEEP_COMPLETED: _completed,
        E.WAIT_STARTED: _wait_started,
        E.WAIT_COMPLETED: _wait_completed,
        E.WAIT_TIMED_OUT: _wait_timed_out,
        E.EVENT_RECEIVED: _event_received,
        E.CHILD_STARTED: _child_started,
        E.CHILD_COMPLETED: _child_completed,
        E.CHILD_ERRORED: _child_errored,
        E.WORKFLOW_RESTARTED: _restarted,
        E.ROLLBACK_STARTED: _rollback_started,
        E.ROLLBACK_ATTEMPT_STARTED: _undo_attempt,
        E.ROLLBACK_STEP_COMPLETED: _undone,
        E.ROLLBACK_STEP_ERRORED: _undo_failed,
    }


def fresh(value: Any) -> Any:
    """Return a value of its own: what `run` does to it does not change what is remembered."""
    return orjson.loads(orjson.dumps(value)) if isinstance(value, dict | list) else value
