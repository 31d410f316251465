"""Hooks: where the test kit comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.memory import StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """What a test wants to happen instead."""

    result: Any = None
    error: Exception | None = None
    timeout: bool = False


class Hooks:
    """What a test may change: nothing, unless it does."""

    __slots__ = ()

    def attempt(self, key: StepKey) -> Mock | None:  # noqa: ARG002 - overridden by the test kit
        """Return what an attempt does instead of running."""
        return None

    def event(self, event_type: str) -> Mock | None:  # noqa: ARG002 - overridden by the test kit
        """Return what a wait gets instead of an event."""
        return None

    def cuts(self, engine: Engine, key: StepKey) -> bool:  # noqa: ARG002 - overridden by the test kit
        """Return whether a wait ends at once."""
        return False

    def delay(self, milliseconds: int) -> int:
        """Return how long a retry waits."""
        return milliseconds

    def changed(self, seq: int) -> None:
        """Hear that something was recorded of an instance."""
