"""Calling what users wrote: sync or async, with the step's context where it is asked for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRef:
    """Which step: its name, and which one of that name."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step function is told of its call, where it takes an argument for it."""

    step: StepRef
    attempt: int
    """1 for the first."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`{"retries": {"limit", "delay" (ms), "backoff"}, "timeout" (ms)}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackContext:
    """What a rollback handler is told: the step that it undoes, what that step returned, and why all is undone."""

    step: StepRef
    output: Any
    """None where the step itself failed."""
    error: str
    """Why the instance failed; empty where it was terminated."""
    attempt: int


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call makes a coroutine, so that it can run in the loop."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    if isinstance(function, partial):
        return is_async(function.func)
    return inspect.iscoroutinefunction(getattr(function, "__call__", function))  # noqa: B004 - the method is what is asked about


def with_context(
    function: Callable[..., Any], given: Sequence[Any], context: Callable[[], Any]
) -> Sequence[Any]:
    """Return the arguments of a call: those given, and the context where one more is taken."""
    return (*given, context()) if takes_more(function, len(given)) else given


def takes_more(function: Callable[..., Any], given: int) -> bool:
    """Return whether a function must be handed one more positional argument, or names one `ctx`."""
    if isinstance(function, FunctionType):
        return _more(function, given)
    if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
        return _more(function.__func__, given + 1)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    return len(positional) > given and (
        positional[given].default is inspect.Parameter.empty or positional[given].name == "ctx"
    )


def _more(function: FunctionType, given: int) -> bool:
    code = function.__code__
    if code.co_argcount <= given:
        return False
    required = code.co_argcount - len(function.__defaults__ or ())
    return required > given or code.co_varnames[given] == "ctx"
