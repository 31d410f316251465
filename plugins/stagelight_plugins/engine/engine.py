"""The Engine: one per instance, the only truth that it exists, and the only one who writes about it.

It is in memory while something is asked of the instance or its `run` is under way; an instance that queues, sleeps or
waits is a row of the store and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.attempts import Attempts
from stagelight_plugins.engine.chronicle import Chronicle
from stagelight_plugins.engine.errors import Invalid, LimitReached, StepNotFound, WrongState
from stagelight_plugins.engine.execution import Execution
from stagelight_plugins.engine.facts import Difference, EventName as E, Status, Trigger
from stagelight_plugins.engine.failures import described
from stagelight_plugins.engine.memory import StepKey
from stagelight_plugins.engine.rollback import Rollback
from stagelight_plugins.engine.values import encode

if TYPE_CHECKING:
    from stagelight_plugins.engine.execution import Asked
    from stagelight_plugins.engine.facts import From

_UNPAUSABLE: Final = {
    Status.PAUSED: "it is so already; resume it when it may go on",
    Status.WAITING_FOR_PAUSE: "it is paused as soon as its running steps have ended",
    Status.ROLLING_BACK: "it ends when all is undone",
}
"""What to do about an instance that cannot be paused, where it has not ended."""
LINGER: Final = 100
"""An instance that would wake within so many milliseconds stays in memory."""


@dataclass(slots=True, eq=False)
class Engine(Chronicle):
    """One instance. Its methods change it at once, and hand what changed to the ledger."""

    execution: Execution | None = None
    rollback: Rollback | None = None
    holds_slot: bool = False
    gone: bool = False
    in_line: bool = False
    """Whether it is in the head of a SousChef's queue."""

    @property
    def careful(self) -> bool:
        """Whether it was in a crash: then attempts are on disk before they run, so that one that kills us is counted."""
        return self.memory.crashes > 0

    def params(self) -> Any:
        """Return what it was started with, each time anew."""
        return orjson.loads(self.row.params) if self.row.params is not None else None

    def trigger(self) -> Trigger:
        """Return what started it."""
        return Trigger(**orjson.loads(self.row.origin)) if self.row.origin else Trigger()

    # --- running --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run, or go on: a slot was granted."""
        self.holds_slot = True
        if self.status is Status.QUEUED:
            first = not self.row.started
            started = self.row.started or self.house.clock.now()
            self.put(Status.RUNNING, rank=None, alarm=None, started=started)
            self.note(E.WORKFLOW_STARTED if first else E.WORKFLOW_RUNNING)
        self.start()

    def start(self) -> None:
        """Call `run` with what is remembered."""
        replaying = self.status is Status.ROLLING_BACK
        self.execution = Execution(self, replaying=replaying, paused=self.status is Status.WAITING_FOR_PAUSE)
        self.execution.start()

    def begin(self, execution: Execution, asked: Asked) -> None:
        """Begin a `do` step."""
        if asked.call is None:
            raise TypeError("a step of kind `do` has a function")
        asked.attempts = Attempts(execution, asked, asked.call)
        asked.attempts.begin()

    def expect(self, key: StepKey) -> None:
        """Let a wait end when it is due."""
        due = self.memory.steps[key].due
        execution = self.execution

        def come() -> None:
            if self.execution is execution and not self.memory.steps[key].over:
                self._due(key)

        if due <= self.house.clock.now() or self.house.hooks.cuts(self, key):
            self.house.loop.call_soon(come)
        elif execution is not None:
            execution.timers.append(self.house.timers.at(due, come))

    def _due(self, key: StepKey) -> None:
        step = self.memory.steps[key]
        if self.execution is not None and self.execution.paused:
            return
        if key.type == "sleep":
            self.note(E.SLEEP_COMPLETED, key)
        else:
            message = f"no event {step.event_type!r} came in time"
            self.note(E.WAIT_TIMED_OUT, key, error={"name": "WaitTimedOut", "message": message})
        self._settle(key)

    def _settle(self, key: StepKey) -> None:
        """Let whoever awaits a step go on; wake the instance where nobody is there."""
        if self.execution is not None:
            self.execution.settle_when_durable(self.memory.steps[key])
        else:
            self.wake()

    def idle(self, execution: Execution) -> None:
        """Everything waits: set the instance aside, unless it wakes at once."""
        if self.execution is not execution:
            return
        if execution.replaying:
            self.replayed(execution)
        elif execution.paused:
            self._pause()
        else:
            due = self.memory.next_due()
            if due is not None and due - self.house.clock.now() <= LINGER:
                return
            self.note(E.WORKFLOW_WAITING)
            self.put(Status.WAITING, alarm=due)
            self._set_aside()

    def _set_aside(self) -> None:
        """Let go of `run` and of the slot."""
        if self.execution is not None:
            self.execution.close()
            self.execution = None
        if self.rollback is not None:
            self.rollback.close()
            self.rollback = None
        if self.holds_slot:
            self.holds_slot = False
            self.house.chef(self).release(self.row.seq)
        self.house.rest(self)

    def wake(self) -> None:
        """Queue it, before all that are new."""
        if self.status is Status.WAITING:
            self._queue(woken=True)

    def interrupted(self) -> None:
        """The process ended while it ran: go on, with more care."""
        self.note(E.WORKFLOW_QUEUED, interrupted=True)
        self._queue(woken=True)

    def _queue(self, *, woken: bool, **columns: Any) -> None:
        self.put(Status.QUEUED, rank=self.house.rank(woken=woken), alarm=None, **columns)
        self.house.chef(self).enqueue(self, woken=woken)

    # --- ending ---------------------------------------------------------------------------------------------------

    def finished(self, execution: Execution, output: Any, error: BaseException | None) -> None:
        """`run` has returned, or raised."""
        if self.execution is not execution:
            return
        body: bytes | None = None
        if error is None:
            try:
                body = encode("what `run` returned", output, self.house.limits.output_bytes)
            except Invalid as bad:
                error = bad
        if error is None:
            self._end(Status.COMPLETE, E.WORKFLOW_COMPLETED, output=body)
            return
        fault = described(error)
        if any(asked.call is not None and asked.call.undo is not None for asked in execution.asked.values()):
            self.note(E.ROLLBACK_STARTED, error=fault)
            self.put(Status.ROLLING_BACK)
            self.replayed(execution)
        else:
            self._fail(fault)

    def _fail(self, fault: dict[str, Any], rollback: dict[str, Any] | None = None) -> None:
        self.notes = {}
        notes = self.noted(error=fault, rollback=rollback)
        self._end(Status.ERRORED, E.WORKFLOW_ERRORED, notes=notes, error=fault)

    def _end(self, status: Status, what: E, *, error: dict[str, Any] | None = None, **columns: Any) -> None:
        now = self.house.clock.now()
        self.note(what, None, **({"error": error} if error else {}))
        self.put(status, rank=None, ended=now, alarm=now + self.row.retention, **columns)
        if self.row.parent:
            self.house.children.ended(self)
        self._set_aside()

    def replayed(self, execution: Execution) -> None:
        """All handlers are known: undo."""
        execution.closed = False
        self.rollback = Rollback(self, list(execution.asked.values()))
        execution.close()
        self.execution = None
        self.rollback.start()

    def rolled_back(self, fault: dict[str, Any] | None) -> None:
        """All is undone, or a handler failed."""
        self.note(
            E.ROLLBACK_ERRORED if fault else E.ROLLBACK_COMPLETED, None, **({"error": fault} if fault else {})
        )
        outcome = {"outcome": "failed" if fault else "complete", "error": fault}
        if self.memory.final_error is not None:
            self._fail(self.memory.final_error, outcome)
        else:
            self._end(Status.TERMINATED, E.WORKFLOW_TERMINATED, notes=self.noted(rollback=outcome))

    async def undo_now(self, execution: Execution, *, continue_on_error: bool) -> None:
        """Undo on request of `run` itself."""
        await Rollback(self, list(execution.asked.values())).by_hand(continue_on_error=continue_on_error)

    def changed_under(self, execution: Execution, difference: Difference) -> None:
        """Stop: the code asks for something else than it did."""
        if self.execution is not execution:
            return
        told = {"wanted": difference.wanted, "recorded": difference.recorded, "reason": difference.reason}
        self.note(E.WORKFLOW_PAUSED, reason=difference.reason)
        self.put(Status.PAUSED, alarm=None, notes=self.noted(difference=told))
        self._set_aside()

    # --- operations -----------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Pause, or ask for it where a step runs."""
        status = self.status
        if status.ended or status in {Status.PAUSED, Status.ROLLING_BACK, Status.WAITING_FOR_PAUSE}:
            raise WrongState(
                self.row.id, status, "pause", _UNPAUSABLE.get(status, "it has ended; restart it")
            )
        execution = self.execution
        if execution is not None and (execution.running or execution.settling):
            execution.paused = True
            self.note(E.WORKFLOW_WAITING_FOR_PAUSE)
            self.put(Status.WAITING_FOR_PAUSE)
        else:
            self._pause()

    def _pause(self) -> None:
        if self.status is Status.QUEUED:
            self.house.chef(self).leave(self)
        self.note(E.WORKFLOW_PAUSED)
        self.put(Status.PAUSED, rank=None, alarm=None)
        self._set_aside()

    def resume(self) -> None:
        """Go on after a pause."""
        if self.status is Status.WAITING_FOR_PAUSE and self.execution is not None:
            self.note(E.WORKFLOW_RUNNING)
            self.put(Status.RUNNING)
            self.execution.paused = False
            self.execution.release()
        elif self.status is Status.PAUSED:
            self.note(E.WORKFLOW_QUEUED)
            self._queue(woken=True, notes=self.noted(difference=None))
        else:
            raise WrongState(self.row.id, self.status, "resume", "only what is paused can be resumed")

    def terminate(self, *, rollback: bool) -> None:
        """End it."""
        if self.status.ended:
            raise WrongState(self.row.id, self.status, "terminate", "it has ended already")
        if self.status is Status.QUEUED:
            self.house.chef(self).leave(self)
        if not rollback:
            self._end(Status.TERMINATED, E.WORKFLOW_TERMINATED)
            return
        if self.status is Status.ROLLING_BACK:
            raise WrongState(self.row.id, self.status, "terminate", "it rolls back already")
        if self.execution is not None:
            self.execution.close()
        self.note(E.ROLLBACK_STARTED)
        self.put(Status.ROLLING_BACK, rank=None, alarm=None)
        self.start()

    def restart(self, origin: From | None) -> None:
        """Begin again, or from a step."""
        place = None
        if origin is not None:
            step = self.memory.steps.get(StepKey(origin.type, origin.name, origin.count))
            if step is None:
                others = [key.type for key in self.memory.steps if key[1:] == (origin.name, origin.count)]
                raise StepNotFound(self.row.id, origin.name, origin.count, others)
            place = step.place
        if self.status is Status.QUEUED:
            self.house.chef(self).leave(self)
        open_ones = [step for step in self.memory.steps.values() if not step.over]
        cut = [(*step.key, max(1, len(step.attempts)), self.memory.generation) for step in open_ones]
        self.note(E.WORKFLOW_RESTARTED, None, cut=cut, **({} if place is None else {"from": place}))
        self._set_aside()
        self.notes = {}
        self._queue(woken=False, output=None, notes=None, started=0, ended=0)

    def send(self, event_type: str, body: bytes) -> None:
        """Take an event: the step that waits for it has it, or it is kept."""
        if self.status.ended:
            raise WrongState(
                self.row.id, self.status, "send an event to", "restart it, or create another one"
            )
        step = self.memory.waiter(event_type)
        limit = self.house.limits.waiting_events
        if step is None and self.memory.mail >= limit:
            raise LimitReached("events that wait in one instance", limit, "let its steps wait for them")
        self.check_size(len(body))
        event = {"type": event_type, "payload": orjson.loads(body), "timestamp": self.house.clock.now()}
        if step is None:
            self.note(E.EVENT_RECEIVED, event=event)
        else:
            self.note(E.WAIT_COMPLETED, step.key, event=event)
            self._settle(step.key)

    def skip(self, name: str, count: int, output: Any) -> None:
        """Give a step an output without running it."""
        if self.status in {Status.COMPLETE, Status.TERMINATED, Status.ROLLING_BACK}:
            raise WrongState(self.row.id, self.status, "skip a step of", "restart it from that step")
        steps = [step for key, step in self.memory.steps.items() if (key.name, key.number) == (name, count)]
        if not steps and self.status is Status.ERRORED:
            raise StepNotFound(self.row.id, name, count)
        if not steps:
            self.note(E.STEP_SKIPPED, StepKey("do", name, count), output=output, ahead=True)
            return
        step = steps[-1]
        if step.over and step.state != "failed":
            raise WrongState(self.row.id, self.status, f"skip step {name!r} of", "that step has completed")
        failed = step.state == "failed"
        if step.key.type == "wait_for_event":
            output = {"type": step.event_type, "payload": output, "timestamp": self.house.clock.now()}
        self.note(E.STEP_SKIPPED, step.key, output=output, n=max(1, len(step.attempts)))
        if self.execution is not None and not failed:
            asked = self.execution.asked.get(step.key)
            if asked is not None and asked.attempts is not None:
                asked.attempts.close()
            self.execution.settle_when_durable(step)
        elif self.status is Status.ERRORED:
            self.note(E.WORKFLOW_QUEUED)
            self.notes = {}
            self._queue(woken=True, ended=0, notes=None)
        else:
            self.wake()

    def delete(self) -> None:
        """Forget it; who watches it is told that it is gone."""
        if self.house.published is not None and not self.status.ended:
            self._part()
        self.house.told(self.row.seq)
        if self.status is Status.QUEUED:
            self.house.chef(self).leave(self)
        self.gone = True
        self.house.count(self.workflow, self.row.status, None)
        self.house.ledger.remove(self.row.seq)
        if self.row.parent and not self.status.ended:
            self.house.children.ended(self)
        self._set_aside()

    def _part(self) -> None:
        told = {"run": self.row.id, "workflow": self.workflow.name, "reason": "it was deleted"}
        self.house.ledger.part(self.row.seq, orjson.dumps(self._record(E.WORKFLOW_TERMINATED, None, told)))

    def child_ended(self, key: StepKey, status: str, output: Any, error: dict[str, Any] | None) -> None:
        """Take what became of a child."""
        step = self.memory.steps.get(key)
        if step is None or step.over:
            return
        if status == Status.COMPLETE:
            self.note(E.CHILD_COMPLETED, key, output=output)
        else:
            fault = error or {"name": "ChildFailed", "message": ""}
            self.note(E.CHILD_ERRORED, key, error={**fault, "status": status})
        self._settle(key)

    def poke(self) -> None:
        """Look again: an alarm has come."""
        if self.status is Status.WAITING:
            self.wake()
        elif self.execution is not None:
            self.house.keep(self.house.loop.create_task(self.house.children.look_after(self)))

    def stop(self) -> None:
        """Let go without a trace: the process goes down, and the next one goes on from the journal."""
        if self.execution is not None:
            self.execution.close()
            self.execution = None
        if self.rollback is not None:
            self.rollback.close()
