"""The event: an immutable fact about a run, as every sink, room and viewer sees it.

Standard library only, so that reading events never loads OpenTelemetry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from stagelight.conventions import EventType

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something failed."""

    type: str = ""
    """The exception's fully qualified class name, or another low-cardinality error type."""
    message: str = ""
    stacktrace: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the failure as JSON-compatible data."""
        return {"type": self.type, "message": self.message, "stacktrace": self.stacktrace}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{key: str(data.get(key, "")) for key in ("type", "message", "stacktrace")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact about one run.

    Times are Unix nanoseconds. `time` is the sender's clock, `received` the collector's (0 where there is none).
    Two events that are equal in everything but `received` are the same fact.
    """

    type: EventType
    run_id: str
    time: int
    received: int = field(default=0, compare=False)
    workflow: str = ""
    service: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_run_id: str = ""
    parent_step_id: str = ""
    """For a step: the enclosing step. For a run: the step of the parent run that started it."""
    step_id: str = ""
    step_name: str = ""
    step_kind: str = ""
    attempt: int = 0
    """1 for the first try; 0 where the event is not about a step."""
    child_run_id: str = ""
    """On a step of kind `child`: the run that it stands for."""
    error: Failure | None = None
    message: str = ""
    """The text of a log line or of a progress report."""
    severity: str = ""
    current: float | None = None
    """How far a progress report has come, out of `total`."""
    total: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """Return the fact as JSON-compatible data, leaving out what is empty, and when it was received."""
        data: dict[str, Any] = {"type": self.type.value, "run_id": self.run_id, "time": self.time}
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value or (value == 0 and name in _ZERO_MATTERS):
                data[name] = value
        if self.error is not None:
            data["error"] = self.error.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, and `received` where it is given; unknown keys are ignored.

        Raises:
            ValueError: The type is not an event type.
            KeyError: `type`, `run_id` or `time` is missing.
        """
        known = {name: data[name] for name in _OPTIONAL if name in data}
        if error := data.get("error"):
            known["error"] = Failure.from_dict(error)
        if received := data.get("received"):
            known["received"] = received
        return cls(type=EventType(data["type"]), run_id=data["run_id"], time=int(data["time"]), **known)


_ZERO_MATTERS: Final = frozenset({"current", "total"})
_OPTIONAL: Final = tuple(
    name for name in Event.__dataclass_fields__ if name not in {"type", "run_id", "time", "error", "received"}
)
