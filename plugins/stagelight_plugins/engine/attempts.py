"""The attempts of one `do` step: run, time out, wait, run again."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.calls import StepContext, StepRef, is_async, takes_more
from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.errors import Invalid, NonRetryableError
from stagelight_plugins.engine.facts import EventName as E
from stagelight_plugins.engine.failures import TIMED_OUT, described
from stagelight_plugins.engine.retries import DEFAULT
from stagelight_plugins.engine.values import encode

if TYPE_CHECKING:
    from stagelight_plugins.engine.execution import Asked, Execution
    from stagelight_plugins.engine.hooks import Mock
    from stagelight_plugins.engine.lanes import Job
    from stagelight_plugins.engine.retries import Retries
    from stagelight_plugins.engine.step import Call
    from stagelight_plugins.engine.timers import Timer

_AS_IT_IS: Final = frozenset({str, int, float, bool, type(None)})
"""What comes back from the journal as it was; everything else is handed on as it will come back."""
INTERRUPTED: Final = "Interrupted"
"""The error of an attempt during which the process died."""


@dataclass(slots=True, eq=False)
class Attempts:
    """Runs one step until it succeeds or has used up its attempts."""

    execution: Execution
    asked: Asked
    call: Call
    _number: int = 0
    _task: asyncio.Task[None] | None = None
    _job: Job | None = None
    _timeout: Timer | None = None
    _retry: Timer | None = None
    _runs: bool = False

    def begin(self) -> None:
        """Begin, or go on where the journal ends."""
        engine, key = self.execution.engine, self.asked.key
        step = engine.memory.steps.get(key)
        if step is None:
            config: dict[str, Any] = (
                {} if self.call.config is DEFAULT else {"config": self.call.config.to_dict()}
            )
            if self.call.config.sensitive:
                config["sensitive"] = True
            engine.note(E.STEP_STARTED, key, **config)
            self._attempt(1)
            return
        last = step.attempts[-1] if step.attempts else None
        if last is not None and not last.ended:
            error = {"name": INTERRUPTED, "message": "the process ended during this attempt"}
            self._number = last.number
            self._failed(error, interrupted=True)
        elif last is not None and last.retry_at:
            self._number = last.number
            self._wait(last.retry_at)
        else:
            self._again(1)

    def close(self) -> None:
        """Stop what runs; its outcome is not told."""
        self._stop()
        if self._retry is not None:
            self._retry.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._job is not None:
            self.execution.engine.house.threads.give_up(self._job)

    # --- one attempt ----------------------------------------------------------------------------------------------

    def _again(self, number: int) -> None:
        self.execution.engine.note(E.ATTEMPT_STARTED, self.asked.key, n=number)
        self._attempt(number)

    def _attempt(self, number: int) -> None:
        engine = self.execution.engine
        self._number, self._runs = number, True
        self.execution.running += 1
        if engine.careful:
            engine.house.ledger.then(self._go)
        else:
            self._go()

    def _go(self) -> None:
        """Run the function; the journal may know of it only a little later, but for an instance that was in a crash."""
        if self.execution.closed or not self._runs:
            return
        house, number = self.execution.engine.house, self._number
        self._timeout = house.timers.after(self.call.config.timeout / 1_000, lambda: self._timed_out(number))
        function, arguments = self.call.function, self.call.arguments
        mock = house.hooks.attempt(self.asked.key)
        if mock is not None:
            house.loop.call_soon(self._mocked, number, mock)
            return
        if takes_more(function, len(arguments)):
            arguments = (*arguments, self._context())
        if is_async(function):
            self._task = house.loop.create_task(self._run(function, arguments, number))
        else:
            self._job = house.threads.submit(
                lambda: function(*arguments), lambda answer, error: self._answered(number, answer, error)
            )

    def _context(self) -> StepContext:
        key = self.asked.key
        config = self.call.config.to_dict()
        return StepContext(step=StepRef(name=key.name, count=key.number), attempt=self._number, config=config)

    async def _run(self, function: Any, arguments: Any, number: int) -> None:
        try:
            answer = await function(*arguments)
        except BaseException as error:  # noqa: BLE001 - sys.exit in a step fails the step, not the engine
            self._over(number, None, error)
        else:
            self._over(number, answer, None)

    def _answered(self, number: int, answer: Any, error: BaseException | None) -> None:
        self._job = None
        if error is None and inspect.isawaitable(answer) and self._current(number):
            self._task = self.execution.engine.house.loop.create_task(self._run(_awaited, (answer,), number))
        else:
            self._over(number, answer, error)

    def _mocked(self, number: int, mock: Mock) -> None:
        if mock.timeout:
            self._timed_out(number)
        else:
            self._over(number, mock.result, mock.error)

    def _timed_out(self, number: int) -> None:
        if not self._current(number):
            return
        task, job, self._task, self._job = self._task, self._job, None, None
        limit = self.call.config.timeout
        self._stop()
        self._failed({"name": TIMED_OUT, "message": f"attempt {number} took more than {limit:,} ms"})
        if task is not None:
            task.cancel()
        if job is not None:
            self.execution.engine.house.threads.give_up(job)

    def _current(self, number: int) -> bool:
        return self._runs and self._number == number and not self.execution.closed

    def _stop(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        if self._runs:
            self._runs = False
            self.execution.running -= 1

    # --- what became of it ----------------------------------------------------------------------------------------

    def _over(self, number: int, answer: Any, error: BaseException | None) -> None:
        if not self._current(number):
            return
        self._stop()
        if error is None:
            self._succeeded(answer)
        elif isinstance(error, NonRetryableError):
            self._give_up(described(error))
        else:
            self._failed(described(error), raised=error)

    def _succeeded(self, answer: Any) -> None:
        engine, key = self.execution.engine, self.asked.key
        try:
            body = encode(f"what step {key.name!r} returned", answer, engine.house.limits.output_bytes)
            engine.check_size(len(body))
        except Invalid as error:
            self._give_up(described(error))
            return
        output = answer if type(answer) in _AS_IT_IS else orjson.loads(body)
        engine.note_output(E.STEP_COMPLETED, key, output, body, self._number)
        self.execution.settle_when_durable(engine.memory.steps[key])

    def _failed(
        self, error: dict[str, Any], *, raised: BaseException | None = None, interrupted: bool = False
    ) -> None:
        retries = self.call.config.retries
        if self._number > retries.limit:
            self._give_up(error)
        elif interrupted:
            self._retry_in(error, 0)
        elif callable(retries.delay):
            self.execution.settling += 1
            house = self.execution.engine.house
            house.keep(house.loop.create_task(self._ask_delay(retries, error, raised)))
        else:
            self._retry_in(error, self.execution.engine.house.delay(retries.after(self._number)))

    async def _ask_delay(self, retries: Retries, error: dict[str, Any], raised: BaseException | None) -> None:
        """Ask the function how long to wait; one that does not know makes the step wait a second."""
        try:
            given = (self._context(), raised or TimeoutError(error["message"]))
            function: Any = retries.delay
            answer: Any = function(*given)
            wait = milliseconds(await answer if inspect.isawaitable(answer) else answer)
        except asyncio.CancelledError:
            raise
        except BaseException as bad:  # noqa: BLE001 - a user's function; sys.exit in it must not end the engine
            error = {
                **error,
                "message": f"{error['message']} (and its delay function: {described(bad)['message']})",
            }
            wait = 1_000
        self.execution.settling -= 1
        if not self.execution.closed:
            self._retry_in(error, self.execution.engine.house.delay(wait))

    def _retry_in(self, error: dict[str, Any], wait: int) -> None:
        engine, key, now = self.execution.engine, self.asked.key, self._now()
        # Of one reading of the clock: how long it waits is told as the difference.
        engine.note(E.ATTEMPT_ERRORED, key, at=now, n=self._number, error=error, retry_at=now + wait)
        self._wait(now + wait)

    def _wait(self, due: int) -> None:
        self._retry = self.execution.engine.house.timers.at(due, self._due)
        self.execution.watch()

    def _due(self) -> None:
        if self.execution.closed or self.asked.future.done():
            return
        if self.execution.paused:
            self.execution.held.append(self._due)
            return
        self._again(self._number + 1)

    def _give_up(self, error: dict[str, Any]) -> None:
        engine, key = self.execution.engine, self.asked.key
        engine.note(E.STEP_ERRORED, key, n=self._number, error=error)
        self.execution.settle_when_durable(engine.memory.steps[key])

    def _now(self) -> int:
        return self.execution.engine.house.clock.now()


async def _awaited(answer: Any) -> Any:
    return await answer
