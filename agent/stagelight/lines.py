"""The line: something said while a run or step is open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagelight.conventions import EventType
    from stagelight.scope import Scope


@dataclass(slots=True, eq=False)
class Line:
    """A progress report or a log line; `time` is Unix nanoseconds."""

    scope: Scope
    type: EventType
    time: int
    message: str = ""
    severity: str = ""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    current: float | None = None
    total: float | None = None

    @property
    def weight(self) -> int:
        """About how many characters it holds."""
        return len(self.message) + sum(
            len(value) for value in self.attributes.values() if isinstance(value, str)
        )
