"""Attempts: when a call of a step is another try of the one that failed just before.

A step is tried again when the same function is entered again, under the same parent, with the identical argument
objects, after its previous call there raised. Failures are kept per lane (asyncio task or thread), so that parallel
calls are never taken for attempts of each other. Arguments are held only while the last outcome is a failure.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

_MOST_FAILURES: Final = 64


@dataclass(slots=True, eq=False)
class FailedCall:
    """The last failed call of a step in one lane."""

    key: object
    """The function, or the name where there is none."""
    name: str
    step_id: str
    attempt: int
    context: SpanContext
    arguments: tuple[object, ...]
    keywords: Mapping[str, object]
    lane: tuple[int, int]

    def was_called_with(self, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> bool:
        """Say whether these are the identical objects."""
        return (
            len(arguments) == len(self.arguments)
            and keywords.keys() == self.keywords.keys()
            and all(mine is yours for mine, yours in zip(self.arguments, arguments, strict=True))
            and all(mine is keywords[key] for key, mine in self.keywords.items())
        )


class Attempts:
    """The failures under one parent; at most 64, the oldest is forgotten first."""

    __slots__ = ("_failures", "_lock")

    def __init__(self) -> None:
        self._failures: list[FailedCall] = []
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, failure: FailedCall) -> None:
        """Remember a failure; it replaces the one of the same function in the same lane."""
        with self._lock:
            self._failures = [
                known
                for known in self._failures
                if known.key is not failure.key or known.lane != failure.lane
            ][1 - _MOST_FAILURES :]
            self._failures.append(failure)

    def succeeded(self, key: object, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> None:
        """Forget the failures that a success settles: those of this lane, and those of the same call."""
        if not self._failures:
            return
        lane = current_lane()
        with self._lock:
            self._failures = [
                known
                for known in self._failures
                if known.key is not key
                or (known.lane != lane and not known.was_called_with(arguments, keywords))
            ]

    def claim(
        self, key: object, arguments: tuple[object, ...], keywords: Mapping[str, object]
    ) -> FailedCall | None:
        """Take the failure that this call tries again, if there is one; this lane's own first."""
        if not self._failures:
            return None
        lane = current_lane()
        with self._lock:
            same = [f for f in self._failures if f.key is key and f.was_called_with(arguments, keywords)]
            found = next((f for f in same if f.lane == lane), same[-1] if same else None)
            return self._taken(found)

    def claim_named(self, name: str) -> FailedCall | None:
        """Take the last failure of a step of this name."""
        with self._lock:
            return self._taken(next((f for f in reversed(self._failures) if f.name == name), None))

    def _taken(self, failure: FailedCall | None) -> FailedCall | None:
        if failure is not None:
            self._failures.remove(failure)
        return failure


def current_lane() -> tuple[int, int]:
    """Return what runs this code: the thread, and the asyncio task where there is one."""
    try:
        task = id(asyncio.current_task())
    except RuntimeError:
        task = 0
    return threading.get_ident(), task
