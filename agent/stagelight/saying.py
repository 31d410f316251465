"""Saying: progress, lines and attributes about the innermost open run or step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight import runtime
from stagelight.scope import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight.scope import Scope


def _around() -> Scope | None:
    """Return the scope around this code; under `stagelight run`, at least the program's own run, which that opens."""
    scope = current()
    if scope is None and runtime.active is not None and runtime.active.fallback is not None:
        return runtime.active.fallback()
    return scope


def _seen() -> Scope | None:
    """Return the scope around this code; under `stagelight run`, the program's own run if it is open already."""
    scope = current()
    if scope is None and runtime.active is not None and runtime.active.shown is not None:
        return runtime.active.shown()
    return scope


def current_run_id() -> str | None:
    """Return the id of the run around this code; None outside any. Opens nothing."""
    scope = _seen()
    return scope.run_id or None if scope is not None else None


def progress(current: float, total: float | None = None, message: str = "") -> None:
    """Say how far the current step or run has come: `current` out of `total`. Outside a run nothing happens."""
    scope = _around()
    if scope is not None:
        scope.progress(current, total, message)


def log(message: str, /, severity: str | int = "INFO", **attributes: object) -> None:
    """Write a line under the current step or run; severity is a level of `logging`, by name or number.

    Outside a run nothing happens.
    """
    scope = _around()
    if scope is not None:
        scope.log(message, severity, **attributes)


def set_attributes(values: Mapping[str, object] | None = None, /, **attributes: object) -> None:
    """Put attributes on the current step or run. Outside a run nothing happens. Opens nothing."""
    scope = _seen()
    if scope is not None:
        scope.set(values, **attributes)
