"""The step API: what `run` does durable work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from stagelight_plugins.engine.durations import DAY, MAX_SLEEP, Duration, at, milliseconds, moment
from stagelight_plugins.engine.entrypoint import ReceivedEvent  # noqa: TC001 - handed on
from stagelight_plugins.engine.errors import BadDuration, Rejected
from stagelight_plugins.engine.facts import APPROVAL
from stagelight_plugins.engine.limits import check_event
from stagelight_plugins.engine.retries import DEFAULT, Retries, StepConfig, step_config
from stagelight_plugins.engine.waits import Waits

if TYPE_CHECKING:
    from datetime import datetime

    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.execution import Asked, Execution

NEITHER: Final = 'the event that came says neither yes nor no; approve it, or skip it with {"approved": true}'
T = TypeVar("T")
Undo = Callable[..., Any]


@dataclass(slots=True, eq=False)
class Call:
    """What a `do` step runs, and what undoes it."""

    function: Callable[..., Any]
    arguments: Sequence[Any] = ()
    config: StepConfig = DEFAULT
    undo: Undo | None = None
    undo_config: StepConfig = DEFAULT


@dataclass(slots=True, eq=False)
class Prepared(Generic[T]):
    """A step made by the decorator: await a call of it to run it, after the steps that it depends on.

    Each is run once, however many depend on it.
    """

    step: Step
    name: str
    function: Callable[..., Any]
    options: dict[str, Any]
    depends: Sequence[Prepared[Any]] = ()
    concurrent: bool = False
    _result: asyncio.Future[Any] | None = None

    def __call__(self) -> Awaitable[T]:
        """Run it; a second call gives the result of the first."""
        if self._result is None:
            if self.depends:
                self._result = asyncio.ensure_future(self._after())
            else:
                self._result = self.step.do(self.name, self.function, **self.options)
        return self._result

    def undo(self, handler: Undo) -> Undo:
        """Make a function this step's rollback handler; for decorators: `@charge.undo`."""
        self.options["rollback"] = handler
        return handler

    async def _after(self) -> Any:
        if self.concurrent:
            results = list(await asyncio.gather(*(needed() for needed in self.depends)))
        else:
            results = [await needed() for needed in self.depends]
        return await self.step.do(self.name, self.function, *results, **self.options)


@dataclass(slots=True, eq=False)
class Step:
    """Runs steps. One that has completed gives its result again without running, whatever happened to the machine.

    Steps begin when they are called; those that are not awaited at once run side by side. A result is found again by the
    name of its step and by which one of that name it is, so names must be the same each time.
    """

    _execution: Execution
    _waits: Waits = field(init=False)

    def __post_init__(self) -> None:
        self._waits = Waits(self._execution)

    @overload
    def do(
        self,
        name: str,
        function: Callable[..., Awaitable[T]],
        *arguments: Any,
        retries: Retries | Mapping[str, Any] | int | None = None,
        timeout: Duration | None = None,
        sensitive: Literal["output"] | bool | None = None,
        rollback: Undo | None = None,
        rollback_retries: Retries | Mapping[str, Any] | int | None = None,
        rollback_timeout: Duration | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[T]: ...

    @overload
    def do(
        self,
        name: str,
        function: Callable[..., T],
        *arguments: Any,
        retries: Retries | Mapping[str, Any] | int | None = None,
        timeout: Duration | None = None,
        sensitive: Literal["output"] | bool | None = None,
        rollback: Undo | None = None,
        rollback_retries: Retries | Mapping[str, Any] | int | None = None,
        rollback_timeout: Duration | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[T]: ...

    @overload
    def do(
        self,
        name: str,
        function: None = None,
        *,
        depends: Sequence[Prepared[Any]] = (),
        concurrent: bool = False,
        retries: Retries | Mapping[str, Any] | int | None = None,
        timeout: Duration | None = None,
        sensitive: Literal["output"] | bool | None = None,
        rollback: Undo | None = None,
        rollback_retries: Retries | Mapping[str, Any] | int | None = None,
        rollback_timeout: Duration | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Callable[[Callable[..., Any]], Prepared[Any]]: ...

    def do(
        self,
        name: str,
        function: Callable[..., Any] | None = None,
        *arguments: Any,
        depends: Sequence[Prepared[Any]] = (),
        concurrent: bool = False,
        **options: Any,
    ) -> Any:
        """Run a function until it succeeds, and remember what it returned.

        Without a function it is a decorator: `@step.do("name", depends=[other])`.

        Args:
            name: 1 to 256 characters, the same each time.
            function: Sync (it runs in a thread) or async. It is handed the arguments, and a `StepContext` if it takes one more.
            arguments: What the function is called with.
            depends: For the decorator: steps whose results the function takes, in this order.
            concurrent: For the decorator: whether these run side by side.
            options: `retries`, a number or `Retries` (5, from 1 s, exponential); `timeout` of one attempt ("10 minutes");
                `sensitive="output"` shows nobody but `run` what it returned; `rollback`, a function that undoes it when
                the instance fails, with `rollback_retries` and `rollback_timeout`; or `config`, these as one mapping in
                the words of the public API.

        Raises:
            StepFailed: When it is awaited: all attempts failed, or one raised `NonRetryableError`.
            Invalid: At once: an argument is wrong.
        """
        if function is None:

            def decorator(chosen: Callable[..., Any]) -> Prepared[Any]:
                return Prepared(self, name, chosen, options, depends, concurrent)

            return decorator
        if not callable(function):
            raise TypeError(
                f"step {name!r} needs a function, not {type(function).__name__}; leave out the brackets of a call"
            )
        call = _call(function, arguments, **options) if options else Call(function, arguments)
        return self._execution.ask("do", name, self._begin, call)

    def with_rollback(self, name: str, **options: Any) -> Callable[[Callable[..., Any]], Prepared[Any]]:
        """Make a function a step whose rollback handler is given by `@that_step.undo`; a decorator like `do`."""

        def decorator(chosen: Callable[..., Any]) -> Prepared[Any]:
            return Prepared(self, name, chosen, options)

        return decorator

    async def rollback_all(self, *, continue_on_error: bool = False) -> None:
        """Undo now what was done so far, the last step first, with the rollback handlers of the steps.

        Raises:
            StepFailed: A handler failed; those before it were not called, unless `continue_on_error`.
        """
        await self._execution.engine.undo_now(self._execution, continue_on_error=continue_on_error)

    def sleep(self, name: str, duration: Duration) -> asyncio.Future[None]:
        """Sleep: a number of milliseconds, a timedelta, or words as in "3 days"; a year at most. Holds nothing meanwhile."""
        length = milliseconds(duration)
        return self._execution.ask("sleep", name, lambda asked: self._waits.sleep(asked, length))

    def sleep_until(self, name: str, when: datetime | float) -> asyncio.Future[None]:
        """Sleep until an aware datetime, or Unix milliseconds.

        Raises:
            BadDuration: It is in the past, or more than a year away.
        """
        due = moment(when)
        return self._execution.ask("sleep", name, lambda asked: self._until(asked, due))

    def wait_for_event(
        self, name: str, *, event_type: str, timeout: Duration = DAY
    ) -> asyncio.Future[ReceivedEvent]:
        """Wait for an event that somebody sends to this instance; one sent before the wait began is taken at once.

        Raises:
            WaitTimedOut: None came in time.
        """
        check_event(event_type)
        length = milliseconds(timeout)
        return self._execution.ask(
            "wait_for_event", name, lambda asked: self._waits.event(asked, event_type, length)
        )

    async def wait_for_approval(
        self,
        name: str,
        *,
        timeout: Duration = DAY,  # noqa: ASYNC109 - a durable one
        event_type: str = APPROVAL,
    ) -> Any:
        """Wait until somebody approves, and return the metadata that came with it.

        Raises:
            Rejected: Somebody said no, or the event that came says neither yes nor no.
            WaitTimedOut: Nobody said anything in time.
        """
        asked = self.wait_for_event(name, event_type=event_type, timeout=timeout)
        count = self._execution.counted("wait_for_event", name)
        payload = (await asked).payload
        told: dict[str, Any] = payload if payload.__class__ is dict else {"approved": payload}
        if not told.get("approved"):
            silent = told.get("approved") is None
            raise Rejected(name, count, str(told.get("reason") or (NEITHER if silent else "")))
        return told.get("metadata")

    def child(
        self,
        name: str,
        workflow: type[WorkflowEntrypoint] | str,
        params: Any = None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> asyncio.Future[Any]:
        """Run another workflow, once, and return its output when it has ended. Its id is made from this instance's.

        Raises:
            ChildFailed: It failed, or was terminated or deleted.
        """
        wanted = workflow if isinstance(workflow, str) else workflow.name or workflow.__name__
        return self._execution.ask("child", name, lambda asked: self._waits.child(asked, wanted, params, id))

    def now(self) -> datetime:
        """Return the time, UTC; under a virtual clock that one's. It is not remembered: what depends on it belongs in a step."""
        return at(self._execution.engine.house.clock.now())

    def _begin(self, asked: Asked) -> None:
        self._execution.engine.begin(self._execution, asked)

    def _until(self, asked: Asked, due: int) -> None:
        now = self._execution.engine.house.clock.now()
        new = asked.key not in self._execution.engine.memory.steps
        if new and due < now:
            asked.future.set_exception(BadDuration(at(due), "it is in the past; choose a time to come"))
        elif new and due - now > MAX_SLEEP:
            asked.future.set_exception(BadDuration(at(due), "the longest sleep is 365 days"))
        else:
            self._waits.sleep_until(asked, due)


def _call(function: Callable[..., Any], arguments: Sequence[Any], **options: Any) -> Call:
    config = dict(options.pop("config", None) or {})
    for key in ("retries", "timeout", "sensitive"):
        if options.get(key) is not None:
            config[key] = options[key]
    undo_config = {"retries": options.get("rollback_retries"), "timeout": options.get("rollback_timeout")}
    return Call(
        function,
        arguments,
        step_config(config.get("retries"), config.get("timeout"), config.get("sensitive")),
        options.get("rollback"),
        step_config(undo_config["retries"], undo_config["timeout"]),
    )
