"""The rollback: the handlers of the steps that were begun, the last one first, until one fails."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine.calls import RollbackContext, StepRef, is_async, takes_more
from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.errors import NonRetryableError, StepFailed
from stagelight_plugins.engine.facts import EventName as E
from stagelight_plugins.engine.failures import TIMED_OUT, described
from stagelight_plugins.engine.memory import fresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.execution import Asked
    from stagelight_plugins.engine.memory import StepMemory
    from stagelight_plugins.engine.step import Call


@dataclass(slots=True, eq=False)
class Rollback:
    """Undoes what one instance did."""

    engine: Engine
    asked: Sequence[Asked]
    waits: bool = False
    """Whether nothing but time passes: a handler is tried again later."""
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Undo, then tell the Engine."""
        self._task = self.engine.house.loop.create_task(self._run())

    def close(self) -> None:
        """Stop; what is not undone is undone after the next start."""
        if self._task is not None:
            self._task.cancel()

    async def by_hand(self, *, continue_on_error: bool) -> None:
        """Undo while `run` goes on.

        Raises:
            StepFailed: A handler failed: the first one, where others were called after it.
        """
        first: StepFailed | None = None
        for step, call in self._due():
            fault = await self._undo(step, call)
            if fault is not None:
                failed = StepFailed(
                    step.key.name, step.key.number, fault["name"], fault["message"], step.rollback_attempts
                )
                if not continue_on_error:
                    raise failed
                first = first or failed
        if first is not None:
            raise first

    async def _run(self) -> None:
        for step, call in self._due():
            fault = await self._undo(step, call)
            if fault is not None:
                self.engine.rolled_back(fault)
                return
        self.engine.rolled_back(None)

    def _due(self) -> list[tuple[StepMemory, Call]]:
        """Return the steps to undo, the last begun first."""
        memory = self.engine.memory
        found = [
            (memory.steps[asked.key], asked.call)
            for asked in self.asked
            if asked.call is not None and asked.call.undo is not None and asked.key in memory.steps
        ]
        found = [(step, call) for step, call in found if step.attempts and step.rollback in {"", "running"}]
        return sorted(found, key=lambda pair: pair[0].place, reverse=True)

    async def _undo(self, step: StepMemory, call: Call) -> dict[str, Any] | None:
        """Call one handler until it succeeds; return why it did not."""
        engine, key = self.engine, step.key
        ledger = engine.house.ledger
        if not step.rollback_attempts:
            engine.note(E.ROLLBACK_STEP_STARTED, key)
        fault: dict[str, Any] = {"name": "Interrupted", "message": "the process ended during each attempt"}
        retries = call.undo_config.retries
        while step.rollback_attempts <= retries.limit:
            engine.note(E.ROLLBACK_ATTEMPT_STARTED, key, n=step.rollback_attempts + 1)
            try:
                await self._call(step, call)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - a user's handler
                fault = described(error)
                engine.note(E.ROLLBACK_ATTEMPT_ERRORED, key, n=step.rollback_attempts, error=fault)
                if isinstance(error, NonRetryableError) or step.rollback_attempts > retries.limit:
                    break
                delay = 1_000 if callable(retries.delay) else retries.after(step.rollback_attempts)
                self.waits = True
                await engine.house.pause_for(milliseconds(engine.house.delay(delay)))
                self.waits = False
            else:
                engine.note(E.ROLLBACK_STEP_COMPLETED, key)
                await ledger.durable()
                return None
        engine.note(E.ROLLBACK_STEP_ERRORED, key, error=fault)
        await ledger.durable()
        return fault

    async def _call(self, step: StepMemory, call: Call) -> None:
        undo = call.undo
        if undo is None:
            return
        house = self.engine.house
        told = self.engine.memory.final_error or {}
        context = RollbackContext(
            step=StepRef(name=step.key.name, count=step.key.number),
            output=fresh(step.output) if step.error is None else None,
            error=told.get("message", ""),
            attempt=step.rollback_attempts,
        )
        arguments: tuple[Any, ...] = (context,) if takes_more(undo, 0) else ()
        if is_async(undo):
            work = asyncio.ensure_future(undo(*arguments))
        else:
            work = house.threads.call(lambda: undo(*arguments))
        timer = house.timers.after(call.undo_config.timeout / 1_000, lambda: _cancel(work))
        try:
            answer = await work
            if inspect.isawaitable(answer):
                await answer
        except asyncio.CancelledError:
            if self._task is not None and self._task.cancelling():
                raise
            raise TimeoutError(
                f"{TIMED_OUT}: the handler took more than {call.undo_config.timeout:,} ms"
            ) from None
        finally:
            timer.cancel()


def _cancel(work: asyncio.Future[Any]) -> None:
    work.cancel()
