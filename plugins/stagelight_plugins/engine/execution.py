"""One call of `run`: it is played again from its start, with what is remembered, and goes on from there.

Steps that the journal has are handed their results in the order in which they ended; a step that it does not have is
held back until `run` has asked for all that it has. So a `run` whose code has changed is found before it does anything.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.engine.durations import at
from stagelight_plugins.engine.entrypoint import ReceivedEvent, Schedule, WorkflowEvent
from stagelight_plugins.engine.errors import LimitReached
from stagelight_plugins.engine.facts import Difference
from stagelight_plugins.engine.failures import raised
from stagelight_plugins.engine.limits import check_step
from stagelight_plugins.engine.memory import StepKey, StepMemory, fresh
from stagelight_plugins.engine.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_plugins.engine.attempts import Attempts
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.facts import StepType
    from stagelight_plugins.engine.step import Call
    from stagelight_plugins.engine.timers import Timer

GRACE_SECONDS: Final = 1.0
"""How long `run` may take, while nothing happens, to ask for what it has done before; then its code has changed."""
TURNS: Final = 25
"""Turns of the event loop without a move after which everything waits: enough for tasks nested ten deep."""


@dataclass(slots=True, eq=False)
class Asked:
    """A step that this call of `run` has asked for."""

    key: StepKey
    future: asyncio.Future[Any]
    call: Call | None = None
    """What to run; None for a step that only waits."""
    attempts: Attempts | None = None


@dataclass(slots=True, eq=False)
class Execution:
    """One call of `run`."""

    engine: Engine
    replaying: bool = False
    """Whether it only finds out where it was, for a rollback: nothing new begins."""
    asked: dict[StepKey, Asked] = field(default_factory=dict[StepKey, Asked])
    task: asyncio.Task[None] | None = None
    closed: bool = False
    held: list[Callable[[], None]] = field(default_factory=list["Callable[[], None]"])
    paused: bool = False
    """Whether new steps are held because somebody asked for a pause."""
    running: int = 0
    """Attempts that run."""
    waits: bool = False
    """Whether anything was waited for, so that the instance may have to be set aside."""
    timers: list[Timer] = field(default_factory=list["Timer"])
    """Of what waits; they go with this call of `run`."""
    settling: int = 0
    """Results that wait to become durable, or to be handed over."""
    _counts: dict[tuple[str, str], int] = field(default_factory=dict["tuple[str, str]", int])
    _unasked: set[StepKey] = field(default_factory=set[StepKey])
    _ready: list[tuple[int, StepKey]] = field(default_factory=list["tuple[int, StepKey]"])
    _moves: int = 0
    _watching: bool = False
    _steps: int = 0

    @property
    def busy(self) -> bool:
        """Whether it goes on by itself: neither time nor an event is waited for."""
        return bool(self.running or self.settling or self._watching)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Call `run`."""
        memory = self.engine.memory
        self._unasked = {key for key, step in memory.steps.items() if not step.ahead}
        self._steps = sum(key.type == "do" for key in memory.steps)
        self.task = self.engine.house.loop.create_task(self._main())
        if self._unasked:
            self._await_answers()

    def close(self) -> None:
        """Stop: what runs is cancelled, nothing of it is remembered. Code in `finally` runs, but its steps do not."""
        if self.closed:
            return
        self.closed = True
        for asked in self.asked.values():
            if asked.attempts is not None:
                asked.attempts.close()
                # Or the two would hold each other: whole instances were kept until the collector of cycles came, and it took a
                # third of the time.
                asked.attempts = None
            asked.future.cancel()
        if self.task is not None:
            self.task.cancel()
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.held.clear()

    async def _main(self) -> None:
        engine = self.engine
        row = engine.row
        trigger = engine.trigger()
        schedule = (
            Schedule(cron=trigger.cron, scheduled_time=at(trigger.scheduled))
            if trigger.source == "cron"
            else None
        )
        event = WorkflowEvent(
            payload=engine.params(),
            timestamp=at(row.created),
            instance_id=row.id,
            workflow_name=engine.workflow.name,
            schedule=schedule,
        )
        try:
            output = await engine.workflow.cls().run(event, Step(self))
            await self._unawaited()
        except BaseException as error:  # noqa: BLE001 - whatever a user raises fails the instance, and nothing else
            self._ended(None, error)
        else:
            self._ended(output, None)

    async def _unawaited(self) -> None:
        """Wait for steps that nobody awaited: they were begun, so they end; an error that nobody saw is not lost."""
        while waiting := [asked.future for asked in self.asked.values() if not asked.future.done()]:
            await asyncio.wait(waiting)
        for asked in self.asked.values():
            future = asked.future
            if not future.cancelled() and future._log_traceback:  # noqa: SLF001  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateUsage] - the only way to know whether somebody has seen it
                future.result()

    def _ended(self, output: Any, error: BaseException | None) -> None:
        if self.closed:
            return
        for asked in self.asked.values():
            if asked.future.done() and not asked.future.cancelled():
                asked.future.exception()
        if self._unasked:
            self._differs("")
        elif self.replaying:
            self.engine.replayed(self)
        else:
            self.engine.finished(self, output, error)

    # --- steps ----------------------------------------------------------------------------------------------------

    def ask(
        self, kind: StepType, name: str, begin: Callable[[Asked], None], call: Call | None = None
    ) -> asyncio.Future[Any]:
        """Ask for a step: its result if it is remembered, else it begins.

        Raises:
            BadName: The name is not allowed.
            LimitReached: The instance has too many steps.
        """
        check_step(name)
        if self.closed:
            raise asyncio.CancelledError("the instance was set aside; what is in `finally` does no steps")
        count = self._counts[kind, name] = self._counts.get((kind, name), 0) + 1
        key = StepKey(kind, name, count)
        asked = self.asked[key] = Asked(key, self.engine.house.loop.create_future(), call)
        self._moves += 1
        remembered = self.engine.memory.steps.get(key)
        if remembered is None:
            self._begin_new(asked, begin)
        else:
            self._unasked.discard(key)
            self._recall(asked, remembered, begin)
            if not self._unasked:
                self.release()
        return asked.future

    def counted(self, kind: StepType, name: str) -> int:
        """Return how many steps of a name this call of `run` has asked for."""
        return self._counts.get((kind, name), 0)

    def _begin_new(self, asked: Asked, begin: Callable[[Asked], None]) -> None:
        if asked.key.type == "do":
            self._steps += 1
            limit = self.engine.house.limits.steps
            if self._steps > limit:
                raise LimitReached(
                    "steps of one instance", limit, "do less in one instance, for example in children"
                )

        if self._unasked or self.replaying or self.paused:
            self.held.append(lambda: None if asked.future.done() else begin(asked))
            self.watch()
        else:
            begin(asked)

    def _recall(self, asked: Asked, remembered: StepMemory, begin: Callable[[Asked], None]) -> None:
        if remembered.over:
            remembered.ahead = False
            self.settling += 1
            heapq.heappush(self._ready, (remembered.done, asked.key))
            self.engine.house.loop.call_soon(self._hand_over)
        elif self.replaying or self.paused:
            self.held.append(lambda: begin(asked))
            self.watch()
        else:
            begin(asked)

    def release(self) -> None:
        """Begin what was held back, where nothing holds it any more."""
        if self._unasked or self.replaying or self.paused or self.closed:
            return
        held, self.held = self.held, []
        for go in held:
            go()

    def _hand_over(self) -> None:
        """Hand over one remembered result, that of the step that ended first."""
        if self.closed or not self._ready:
            return
        _, key = heapq.heappop(self._ready)
        self.settling -= 1
        self.settle(self.engine.memory.steps[key])

    def settle(self, step: StepMemory) -> None:
        """Let `run` go on with what became of a step."""
        asked = self.asked.get(step.key)
        if self.closed or asked is None or asked.future.done():
            return
        self._moves += 1
        try:
            if step.error is None:
                asked.future.set_result(_result(step))
            else:
                asked.future.set_exception(raised(step))
        finally:
            if self.waits or self.held:
                self.watch()

    def settle_when_durable(self, step: StepMemory) -> None:
        """Let `run` go on once the record of it is on disk."""
        self.settling += 1

        def durable() -> None:
            self.settling -= 1
            self.settle(step)

        self.engine.house.ledger.then(durable)

    # --- nothing to do --------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look whether everything waits, so that the instance can be set aside."""
        self.waits = True
        if not self._watching and not self.closed:
            self._watching = True
            self._look(self._moves, TURNS)

    def _look(self, moves: int, turns: int) -> None:
        if self.closed or self.running or self.settling or self._moves != moves:
            self._watching = False
            if not self.closed and self._moves != moves and not self.running and not self.settling:
                self.watch()
            return
        if turns:
            self.engine.house.loop.call_soon(self._look, moves, turns - 1)
            return
        self._watching = False
        if self.task is None or self.task.done() or self._unasked:
            return
        if any(not asked.future.done() for asked in self.asked.values()):
            self.engine.idle(self)

    # --- changed code ---------------------------------------------------------------------------------------------

    def _await_answers(self) -> None:
        timer = self.engine.house.timers.after(GRACE_SECONDS, lambda: self._hear(self._moves, TURNS))
        self.timers.append(timer)

    def _hear(self, moves: int, turns: int) -> None:
        """Time alone proves nothing, the loop may have been busy: `run` must also have had its turns."""
        if self.closed or not self._unasked:
            return
        if self._moves != moves or self.settling:
            self._await_answers()
        elif turns:
            self.engine.house.loop.call_soon(self._hear, moves, turns - 1)
        else:
            self._differs(self._wanted())

    def _wanted(self) -> str:
        memory = self.engine.memory
        return next((key.short for key in self.asked if key not in memory.steps), "")

    def _differs(self, wanted: str) -> None:
        memory = self.engine.memory
        recorded = min(self._unasked, key=lambda key: memory.steps[key].place)
        asks = f"asks for step {wanted!r}" if wanted else "comes to its end or waits"
        reason = (
            f"the code {asks} where this instance has done {recorded.short!r}; bring the old code back and resume, "
            "or restart the instance"
        )
        self.engine.changed_under(self, Difference(wanted=wanted, recorded=recorded.short, reason=reason))


def _result(step: StepMemory) -> Any:
    output = fresh(step.output)
    if step.key.type != "wait_for_event":
        return output
    return ReceivedEvent(type=output["type"], payload=output["payload"], timestamp=at(output["timestamp"]))
