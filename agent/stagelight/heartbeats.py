"""Heartbeats: a run whose step takes an hour says now and then that it is alive, so that silence means something."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stagelight.scope import Run

MOST: Final = 1_000
"""Runs of one process that are watched at a time."""


class Heartbeats:
    """Which runs are open, and when they are to be told of. Used by the worker's thread alone; times are its clock's."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._open: list[Run] = []
        self._next = inf

    def watch(self, run: Run, now: float) -> None:
        """Tell of a run until it ends."""
        if len(self._open) >= MOST:
            self._forget_ended()
        if len(self._open) < MOST:
            self._open.append(run)
            self._next = min(self._next, now + self._every)

    def due_in(self, now: float) -> float:
        """Return the seconds until some are due; infinity while no run is open."""
        return self._next - now

    def due(self, now: float) -> list[Run]:
        """Return the open runs where their time has come."""
        if now < self._next:
            return []
        self._forget_ended()
        self._next = now + self._every if self._open else inf
        return list(self._open)

    def _forget_ended(self) -> None:
        self._open = [run for run in self._open if run.span.is_recording()]
