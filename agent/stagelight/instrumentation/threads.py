"""Threads keep the parent: what is started or submitted inside a run belongs to the run.

`threading.Thread` and `ThreadPoolExecutor.submit` (and so `loop.run_in_executor`) carry the OpenTelemetry context over.
Process pools carry nothing.
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTEXT: Final = "_stagelight_context"
_originals: Final[dict[str, Any]] = {}


def instrument() -> None:
    """Patch both; a second call changes nothing."""
    if _originals:
        return
    _originals.update(start=threading.Thread.start, submit=ThreadPoolExecutor.submit)
    threading.Thread.start = _start(threading.Thread.start)  # type: ignore[method-assign, assignment]  # that is what patching is
    ThreadPoolExecutor.submit = _submit(ThreadPoolExecutor.submit)  # type: ignore[method-assign]  # as above


def uninstrument() -> None:
    """Undo `instrument`, unless somebody else has patched over it since."""
    if not _originals:
        return
    if getattr(threading.Thread.start, _CONTEXT, False):
        threading.Thread.start = _originals["start"]  # type: ignore[method-assign]  # as above
    if getattr(ThreadPoolExecutor.submit, _CONTEXT, False):
        ThreadPoolExecutor.submit = _originals["submit"]  # type: ignore[method-assign]  # as above
    _originals.clear()


def _start(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        context = otel_context.get_current()
        if context:
            # On the instance, so that a subclass that overrides `run` is covered too.
            self.run = _Carried(context, self.run)  # type: ignore[method-assign]  # as above
        original(self)

    setattr(start, _CONTEXT, True)
    return start


def _submit(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Also when the context is empty: the pool's thread may have been started by a run that is long over.
        return original(self, _Carried(otel_context.get_current(), fn), *args, **kwargs)

    setattr(submit, _CONTEXT, True)
    return submit


class _Carried:
    """A callable that runs in the context it was handed over in."""

    __slots__ = ("_call", "_context")

    def __init__(self, context: otel_context.Context, call: Callable[..., Any]) -> None:
        self._context = context
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = otel_context.attach(self._context)
        try:
            return self._call(*args, **kwargs)
        finally:
            otel_context.detach(token)
