"""Scopes: names and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stagelight_plugins.diagram.builder.values import UNDEFINED, UNKNOWN, Value, join

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Slot:
    """One name."""

    value: Value = UNDEFINED
    lazy: Callable[[], Value] | None = None
    """Makes the value when it is first asked for."""
    depth: int = 0
    """How many conditions it was declared below."""

    def get(self) -> Value:
        """Return the value."""
        if self.lazy is not None:
            make, self.lazy = self.lazy, None
            self.value = make()
        return self.value

    def set(self, value: Value, depth: int) -> None:
        """Assign; below a condition that the declaration is not under, the old value stays possible."""
        old = self.get()
        self.value = join(old, value) if depth > self.depth else value


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Scope:
    """A block's or function's names, inside those of `outer`."""

    outer: Scope | None = None
    slots: dict[str, Slot] = field(default_factory=dict[str, Slot])
    source: bytes | None = None
    """The file whose outermost scope it is."""
    missing: Callable[[str], Slot | None] | None = None
    """Asked for a name that is not here: the names of a whole module are found when they are needed."""

    def find(self, name: str) -> Slot | None:
        """Return the nearest slot of a name."""
        place: Scope | None = self
        while place is not None:
            slot = place.slots.get(name)
            if slot is None and place.missing is not None:
                slot = place.missing(name)
                if slot is not None:
                    place.slots[name] = slot
            if slot is not None:
                return slot
            place = place.outer
        return None

    def declare(self, name: str, value: Value = UNDEFINED, depth: int = 0) -> Slot:
        """Make a name of this scope."""
        slot = self.slots[name] = Slot(value, depth=depth)
        return slot

    def file(self) -> bytes | None:
        """Return the file in which it stands."""
        place: Scope | None = self
        while place is not None and place.source is None:
            place = place.outer
        return None if place is None else place.source

    def lookup(self, name: str) -> Value | None:
        """Return the value of a name; None where there is no such name."""
        slot = self.find(name)
        return None if slot is None else slot.get()


__all__ = ["UNKNOWN", "Scope", "Slot"]
