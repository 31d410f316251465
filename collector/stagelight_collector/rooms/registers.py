"""What a run's state is made of: values that any order of the same events leaves the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight.events import Failure

if TYPE_CHECKING:
    from stagelight.events import Event

MAX_ATTRIBUTES: Final = 128


@dataclass(slots=True)
class Earliest:
    """The non-empty text with the smallest time; equal times are settled by the text."""

    key: tuple[int, str] | None = None

    @property
    def value(self) -> str:
        """The text, empty where none was seen."""
        return self.key[1] if self.key else ""

    def merge(self, time: int, value: str) -> bool:
        """Take a candidate; return whether the text changed."""
        if not value or (self.key is not None and (time, value) >= self.key):
            return False
        before, self.key = self.value, (time, value)
        return before != value


@dataclass(slots=True)
class Attributes:
    """The latest value by key; bounded by leaving out the keys that sort last."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    _keys: dict[str, tuple[int, str]] = field(default_factory=dict[str, "tuple[int, str]"])

    def merge(self, event: Event) -> bool:
        """Take an event's attributes; return whether any value changed."""
        changed = False
        for name, value in event.attributes.items():
            if len(self.values) >= MAX_ATTRIBUTES and name not in self.values and name > max(self.values):
                continue
            key = (event.time, repr(value))
            if key > self._keys.get(name, (-1, "")):
                self._keys[name] = key
                changed |= name not in self.values or self.values[name] != value
                self.values[name] = value
        while len(self.values) > MAX_ATTRIBUTES:
            last = max(self.values)
            del self.values[last], self._keys[last]
        return changed


@dataclass(slots=True, frozen=True, order=True)
class Ending:
    """How something ended; the greatest wins."""

    time: int
    status: str
    error_key: tuple[str, str, str] = ("", "", "")

    @property
    def error(self) -> Failure | None:
        """The failure, if it was one."""
        if self.error_key == ("", "", ""):
            return None
        return Failure(type=self.error_key[0], message=self.error_key[1], stacktrace=self.error_key[2])

    @classmethod
    def of(cls, event: Event, status: str) -> Ending:
        """Read the ending from a terminal event."""
        error = event.error
        return cls(
            event.time, status, (error.type, error.message, error.stacktrace) if error else ("", "", "")
        )


@dataclass(slots=True, frozen=True, order=True)
class Progress:
    """How far something has come; the latest wins."""

    time: int
    current: float
    total: float | None
    message: str

    @classmethod
    def of(cls, event: Event) -> Progress | None:
        """Read a progress report; None where the event carries only attributes."""
        if event.current is None and not event.message:
            return None
        return cls(event.time, -1.0 if event.current is None else event.current, event.total, event.message)

    def after(self, other: Progress | None) -> bool:
        """Whether this report replaces another."""
        return other is None or self.key() > other.key()

    def key(self) -> tuple[int, float, float, str]:
        """What reports are ordered by."""
        return (self.time, self.current, -1.0 if self.total is None else self.total, self.message)
