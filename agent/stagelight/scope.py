"""The scope: an open run or step, as the code inside it sees it."""

from __future__ import annotations

from time import time_ns
from traceback import TracebackException
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode

from stagelight.attempts import Attempts, FailedCall, current_lane
from stagelight.attributes import bounded_text, clean_attributes
from stagelight.conventions import (
    ERROR_TYPE,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    PARENT_STEP_ID,
    RUN_ID,
    STATUS,
    WORKFLOW_NAME,
    EventType,
    RunStatus,
)
from stagelight.guard import guarded, report
from stagelight.lines import Line, finite, level_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight.processor import Processor

KEY: Final = otel_context.create_key("stagelight-scope")
"""Where the current scope is kept in the OpenTelemetry context, so that it goes wherever the context goes."""

_NO_KEYWORDS: Final[Mapping[str, object]] = {}
_MOST_FRAMES: Final = 64


class Scope:
    """An open run or step. Methods never raise; after the end, and when nothing is recorded, they do nothing."""

    __slots__ = (
        "_children",
        "_processor",
        "_token",
        "attempts",
        "key",
        "name",
        "parent",
        "previous",
        "run_id",
        "span",
        "start_attributes",
        "workflow",
    )

    def __init__(
        self,
        name: str,
        *,
        span: Span = INVALID_SPAN,
        run_id: str = "",
        workflow: str = "",
        parent: Scope | None = None,
        key: object = None,
        start_attributes: dict[str, Any] | None = None,
        processor: Processor | None = None,
    ) -> None:
        self.name = name
        self.span = span
        self.run_id = run_id
        self.workflow = workflow
        self.parent = parent
        self.key = key
        self.start_attributes: dict[str, Any] = {} if start_attributes is None else start_attributes
        self.previous: Scope | None = None
        self.attempts: Attempts | None = None
        self._children: dict[str, Any] | None = None
        self._processor = processor
        self._token: Any = None

    @property
    def is_live(self) -> bool:
        """Whether what happens here is recorded."""
        return self._processor is not None and self.span.is_recording()

    def inherited(self) -> dict[str, Any]:
        """Return the attributes that everything inside this scope carries."""
        if self._children is None:
            self._children = self._inherited()
        return self._children

    def _inherited(self) -> dict[str, Any]:
        found: dict[str, Any] = {RUN_ID: self.run_id}
        if self.workflow:
            found[WORKFLOW_NAME] = self.workflow
        return found

    @guarded("set", None)
    def set(self, values: Mapping[str, object] | None = None, /, **attributes: object) -> None:
        """Put attributes on this run or step; a viewer sees them at once, history when it ends."""
        if not self.is_live:
            return
        cleaned = clean_attributes({**(values or {}), **attributes})
        if cleaned:
            self.span.set_attributes(cleaned)
            self._say(Line(self, EventType.PROGRESS, time_ns(), attributes=cleaned))

    @guarded("progress", None)
    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far this run or step has come: `current` out of `total`, in whatever unit both have."""
        if self.is_live:
            self._say(
                Line(
                    self,
                    EventType.PROGRESS,
                    time_ns(),
                    bounded_text(str(message)),
                    current=finite("current", current),
                    total=None if total is None else finite("total", total),
                )
            )

    @guarded("log", None)
    def log(self, message: str, /, severity: str | int = "INFO", **attributes: object) -> None:
        """Write a line under this run or step; severity is a level of `logging`, by name (in any case) or number."""
        if self.is_live:
            text, level = bounded_text(str(message)), level_name(severity)
            self._say(Line(self, EventType.LOG, time_ns(), text, level, clean_attributes(attributes)))

    def _say(self, line: Line) -> None:
        if self._processor is not None:
            self._processor.said(line)

    def enter(self, context: otel_context.Context) -> None:
        """Make this scope the current one."""
        self._token = otel_context.attach(context)

    def leave(self) -> None:
        """Make the scope before this one current again; a token of another task's is let go quietly."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            token.var.reset(token)
        except AttributeError:  # another runtime context's own kind of token
            otel_context.detach(token)
        except (ValueError, RuntimeError):
            pass

    def end(
        self,
        error: BaseException | None = None,
        arguments: tuple[object, ...] = (),
        keywords: Mapping[str, object] = _NO_KEYWORDS,
    ) -> None:
        """End the span, with the error that came out of the block if one did. Never raises."""
        if error is not None and not is_failure(error):
            error = None
        try:
            if error is not None:
                self._fail(error)
            self._settle(error, arguments, keywords)
        except Exception as fault:  # the host's own outcome matters, not ours
            report("end", fault)
        try:
            self.attempts = None
            self.span.end()
        except Exception as fault:
            report("span end", fault)

    def _settle(
        self, error: BaseException | None, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> None:
        """Leave behind what the parent has to know; overridden."""

    def _fail(self, error: BaseException) -> None:
        if not self.span.is_recording():
            return
        kind = qualified_name(type(error))
        message = _message(error)
        self.span.add_event(
            "exception",
            {EXCEPTION_TYPE: kind, EXCEPTION_MESSAGE: message, EXCEPTION_STACKTRACE: _stacktrace(error)},
        )
        self.span.set_attribute(ERROR_TYPE, kind)
        # Without a message there is no description: what shows both would say the type twice.
        self.span.set_status(StatusCode.ERROR, f"{kind}: {message}" if message else None)


class Run(Scope):
    """One execution of a workflow."""

    __slots__ = ("module",)

    def __init__(self, name: str, *, module: str = "", **fields: Any) -> None:
        super().__init__(name, **fields)
        self.module = module
        """The name of the module that defines the workflow; its code tells the version."""

    @property
    def id(self) -> str:
        """The run's id, as every room, link and table knows it; empty when nothing is recorded."""
        return self.run_id

    def _settle(
        self, error: BaseException | None, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> None:
        del arguments, keywords
        if error is not None and self._processor is not None:
            self._processor.failure = id(error)
        if self.span.is_recording():
            self.span.set_attribute(
                STATUS, (RunStatus.COMPLETED if error is None else RunStatus.FAILED).value
            )


class Step(Scope):
    """One attempt of one step of a run."""

    __slots__ = ("attempt", "id")

    id: str
    """The same for every attempt of the step."""
    attempt: int

    def _inherited(self) -> dict[str, Any]:
        return {**super()._inherited(), PARENT_STEP_ID: self.id}

    def _settle(
        self, error: BaseException | None, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> None:
        parent = self.parent
        if parent is None:
            return
        if error is None:
            if parent.attempts is not None:
                parent.attempts.succeeded(self.key, arguments, keywords)
            return
        if parent.attempts is None:
            parent.attempts = Attempts()
        context = self.span.get_span_context()
        parent.attempts.failed(
            FailedCall(
                self.key, self.name, self.id, self.attempt, context, arguments, keywords, current_lane()
            )
        )


def is_failure(error: BaseException) -> bool:
    """Say whether what leaves a block is a failure. A generator that is left early, and an exit with code 0, are none."""
    if isinstance(error, SystemExit):
        return not (error.code is None or (isinstance(error.code, int) and error.code == 0))
    return not isinstance(error, GeneratorExit)


def current() -> Scope | None:
    """Return the innermost open run or step around this code."""
    scope = otel_context.get_current().get(KEY)
    return scope if isinstance(scope, Scope) else None


def qualified_name(kind: type) -> str:
    """Return a class's name as the exception conventions want it: with its module, but for built-ins."""
    module = kind.__module__
    return kind.__qualname__ if module in {"builtins", None} else f"{module}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return bounded_text(str(error))
    except Exception as fault:  # an exception's __str__ is the user's code
        report("exception message", fault)
        return ""


def _stacktrace(error: BaseException) -> str:
    try:
        return bounded_text(
            "".join(TracebackException.from_exception(error, limit=-_MOST_FRAMES, compact=True).format())
        )
    except Exception as fault:  # as above, and the source may be unreadable
        report("stack trace", fault)
        return ""
