"""Recording: workflows and steps, as decorators and as context managers."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from opentelemetry import context as otel_context
from opentelemetry.trace import Link, get_current_span, set_span_in_context

from stagelight import runtime
from stagelight.attributes import name_text
from stagelight.conventions import (
    PARENT_RUN_ID,
    PARENT_STEP_ID,
    RUN_ID,
    STEP_ATTEMPT,
    STEP_ID,
    STEP_KIND,
    STEP_NAME,
    WORKFLOW_NAME,
    StepKind,
)
from stagelight.guard import report, say_once
from stagelight.scope import KEY, Run, Scope, Step
from stagelight.wrapping import innermost, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from functools import cached_property
    from types import TracebackType

    from stagelight.attempts import FailedCall
    from stagelight.runtime import Runtime

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound="classmethod[Any, ..., Any] | property | cached_property[Any]")

FUNCTION: Final = "code.function.name"
_ROOM: Final = 32
"""More than the agent's own attributes ever are."""
_NOTHING: Final[Mapping[str, object]] = {}


class WorkflowOpener:
    """Opens runs of one workflow: a decorator and a context manager, for sync and async code alike."""

    __slots__ = ("_function", "_module", "_name", "_open", "_run_id", "is_muted")

    def __init__(
        self,
        name: str | None = None,
        *,
        run_id: str | Callable[..., str] | None = None,
        function: str = "",
        module: str = "",
    ) -> None:
        self._name = None if name is None else name_text(name)
        self._run_id = run_id
        self._function = function
        self._module = module
        self._open: Run | None = None
        self.is_muted = False

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Make every call of the function a run."""
        opener = WorkflowOpener(
            self._name or _short(function),
            run_id=self._run_id,
            function=_qualified(function),
            module=getattr(innermost(function), "__module__", "") or "",
        )
        return wrap(function, opener)

    def __enter__(self) -> Run:
        if not self._module:
            self._module = _calling_module()
        run = self.open()
        run.previous, self._open = self._open, run
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run = self._open
        if run is not None:
            self._open = run.previous  # type: ignore[assignment]  # only __enter__ links, and it links runs
            run.leave()
            run.end(error)

    async def __aenter__(self) -> Run:
        if not self._module:
            self._module = _calling_module()
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def open(self, arguments: tuple[object, ...] = (), keywords: Mapping[str, object] = _NOTHING) -> Run:
        """Open a run and make it the current scope; where recording is off or fails, an inert one."""
        name = self._name or "workflow"
        try:
            using = runtime.active or runtime.use()
            if using is not None and not self.is_muted:
                return self._begin(using, name, arguments, keywords)
        except Exception as fault:  # the host goes on unrecorded
            report("workflow", fault)
        return Run(name)

    def _begin(
        self, using: Runtime, name: str, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> Run:
        chosen = self._chosen_id(name, arguments, keywords)
        context = otel_context.get_current()
        parent = context.get(KEY)
        outer = get_current_span(context).get_span_context()
        span = using.tracer.start_span(name, context)
        run_id = chosen or (
            secrets.token_hex(16) if outer.is_valid else f"{span.get_span_context().trace_id:032x}"
        )
        attributes: dict[str, Any] = {WORKFLOW_NAME: name, RUN_ID: run_id}
        if isinstance(parent, Scope) and parent.run_id:
            attributes[PARENT_RUN_ID] = parent.run_id
            if isinstance(parent, Step):
                attributes[PARENT_STEP_ID] = parent.id
        if self._function:
            attributes[FUNCTION] = self._function
        run = Run(
            name,
            module=self._module,
            span=span,
            run_id=run_id,
            workflow=name,
            start_attributes=attributes,
            processor=using.processor,
        )
        using.has_workflows = True
        _announce(run, using, context)
        return run

    def _chosen_id(self, name: str, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> str:
        """Return the id that the user chose; empty if there is none, or if the function that makes it raised."""
        try:
            chosen = self._run_id(*arguments, **keywords) if callable(self._run_id) else self._run_id
            return name_text(chosen) if chosen else ""
        except Exception as error:  # the user's code may raise anything; the run is worth more than its id
            text = "run_id= of workflow %s raised %s; a random id is used"
            say_once(f"run_id {name}", text, name, type(error).__name__)
            return ""


class StepOpener:
    """Opens attempts of one step: a decorator and a context manager, for sync and async code alike."""

    __slots__ = ("_attempt", "_kind", "_name", "_open", "_static", "is_muted")

    def __init__(
        self,
        name: str | None = None,
        *,
        kind: str = StepKind.DO.value,
        attempt: int | None = None,
        function: str = "",
    ) -> None:
        self._name = None if name is None else name_text(name)
        self._kind = kind
        self._attempt = attempt
        self._static: dict[str, Any] | None = {FUNCTION: function} if function else None
        self._open: Step | None = None
        self.is_muted = False

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Make every call of the function a step."""
        opener = StepOpener(
            self._name or _short(function),
            kind=self._kind,
            attempt=self._attempt,
            function=_qualified(function),
        )
        return wrap(function, opener)

    def __enter__(self) -> Step:
        step = self.open()
        step.previous, self._open = self._open, step
        return step

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        step = self._open
        if step is not None:
            self._open = step.previous  # type: ignore[assignment]  # only __enter__ links, and it links steps
            step.leave()
            step.end(error)

    async def __aenter__(self) -> Step:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def open(self, arguments: tuple[object, ...] = (), keywords: Mapping[str, object] = _NOTHING) -> Step:
        """Open an attempt and make it the current scope; where recording is off or fails, an inert one."""
        name = self._name or "step"
        try:
            using = runtime.active or runtime.use()
            if using is not None and not self.is_muted:
                return self._begin(using, name, arguments, keywords)
        except Exception as fault:  # the host goes on unrecorded
            report("step", fault)
        return _inert(name)

    def _begin(
        self, using: Runtime, name: str, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> Step:
        context = otel_context.get_current()
        found: Any = context.get(KEY)
        parent: Scope | None = found
        if parent is None and using.fallback is not None:
            parent, context = _adopted(using.fallback, context)
        before = (
            None if parent is None or parent.attempts is None else self._retried(parent, arguments, keywords)
        )
        links = () if before is None else (Link(before.context),)
        span = using.tracer.start_span(name, context, links=links)
        own = span.get_span_context()
        step = Step(name, span=span, parent=parent, key=self._key, processor=using.processor)
        step.id = f"{own.span_id:016x}" if before is None else before.step_id
        step.attempt = self._attempt or (1 if before is None else before.attempt + 1)
        if parent is None:
            step.run_id = f"{own.trace_id:032x}"
            attributes: dict[str, Any] = {RUN_ID: step.run_id}
        else:
            step.run_id = parent.run_id
            step.workflow = parent.workflow
            attributes = parent.inherited().copy()
        attributes[STEP_NAME] = name
        attributes[STEP_ID] = step.id
        attributes[STEP_KIND] = self._kind
        attributes[STEP_ATTEMPT] = step.attempt
        if self._static is not None:
            attributes.update(self._static)
        step.start_attributes = attributes
        _announce(step, using, context)
        return step

    @property
    def _key(self) -> object:
        """What makes two calls calls of the same step: the decorated function; a block has only its name."""
        return self if self._static is not None else self._name

    def _retried(
        self, parent: Scope, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> FailedCall | None:
        """Return the failed attempt that this one tries again. A block has no arguments: it has to say so itself."""
        assert parent.attempts is not None  # noqa: S101 - the caller looked
        if self._attempt is not None:
            return parent.attempts.claim_named(self._name or "step") if self._attempt > 1 else None
        return parent.attempts.claim(self, arguments, keywords) if self._static is not None else None


def _announce(scope: Scope, using: Runtime, context: otel_context.Context) -> None:
    span = scope.span
    if span.is_recording():
        _stamp(span, scope.start_attributes)
        using.processor.started(scope)
    scope.enter(set_span_in_context(span, otel_context.Context({**context, KEY: scope})))


def _stamp(span: Any, attributes: dict[str, Any]) -> None:
    """Put clean attributes on a span that has just begun.

    Straight into the SDK's map where it is as we know it: there each value is cleaned once more, which costs more than
    everything else that a step does. A limit on values, or another SDK, takes the public way.
    """
    bounded: Any = getattr(span, "_attributes", None)
    most = getattr(bounded, "maxlen", 0)
    if getattr(bounded, "max_value_len", 0) is None and (most is None or most >= _ROOM):
        bounded._dict.update(attributes)  # noqa: SLF001 - see above; held by a test
    else:
        span.set_attributes(attributes)


def _adopted(
    fallback: Callable[[], Scope | None], context: otel_context.Context
) -> tuple[Scope | None, otel_context.Context]:
    """Return the scope of the process as parent, unless some other trace is going on here."""
    if get_current_span(context).get_span_context().is_valid:
        return None, context
    scope = fallback()
    return scope, context if scope is None else set_span_in_context(scope.span, context)


def _inert(name: str) -> Step:
    step = Step(name)
    step.id, step.attempt = "", 1
    return step


def _calling_module() -> str:
    """Return the name of the module whose code entered the block."""
    frame = sys._getframe(2)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]  # `inspect` reads files to say it
    return str(frame.f_globals.get("__name__", ""))


def _is_decorated(name: object) -> bool:
    """Say whether this is what stands below a decorator: a function, or a `classmethod` or `property`, which is not callable."""
    return callable(name) or hasattr(type(name), "__get__")


def _short(function: Callable[..., object]) -> str:
    inner = innermost(function)
    return getattr(inner, "__name__", type(inner).__name__)


def _qualified(function: Callable[..., object]) -> str:
    inner = innermost(function)
    module = getattr(inner, "__module__", "") or ""
    return f"{module}.{getattr(inner, '__qualname__', _short(inner))}".lstrip(".")


@overload
def workflow(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def workflow(name: D, /) -> D: ...
@overload
def workflow(
    name: str | None = None, *, run_id: str | Callable[..., str] | None = None
) -> WorkflowOpener: ...
def workflow(name: Any = None, *, run_id: Any = None) -> Any:
    """Make a function, or a block, a workflow: each call is a run.

    As `@workflow`, `@workflow(name="etl")` or `with workflow("etl") as run:`; also for async functions, generators and
    `async with`.

    Args:
        name: How the workflow is called; the function's name by default.
        run_id: The id of the run, or a function of the call's arguments that returns it. By default the trace id if
            the run begins a trace, else a random id.
    """
    if _is_decorated(name):
        return WorkflowOpener(run_id=run_id)(name)
    return WorkflowOpener(name, run_id=run_id)


@overload
def step(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(name: D, /) -> D: ...
@overload
def step(name: str | None = None, *, kind: str = "do", attempt: int | None = None) -> StepOpener: ...
def step(name: Any = None, *, kind: str = "do", attempt: int | None = None) -> Any:
    """Make a function, or a block, a step of the run around it.

    As `@step`, `@step(name="load")` or `with step("load") as step:`; also for async functions, generators and
    `async with`. Outside any run it is a run of one step.

    Args:
        name: How the step is called; the function's name by default.
        kind: What it does: `do`, `sleep`, `wait_for_event`, `child`, or a word of your own.
        attempt: For a block that is tried again: which try this is, from 1; above 1 it joins the last failed step of
            that name. A function that is called again with the same arguments after it raised needs none.
    """
    if _is_decorated(name):
        return StepOpener(kind=kind, attempt=attempt)(name)
    return StepOpener(name, kind=kind, attempt=attempt)
