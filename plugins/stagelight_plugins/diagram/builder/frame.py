"""A frame: one function body while it is followed; counts its promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stagelight_plugins.diagram.builder.values import UNDEFINED, UNKNOWN, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.diagram.builder.values import ClassValue
    from stagelight_plugins.diagram.model import Draft


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Counter:
    """Numbers the promises of one function body; code that is inlined into it shares its counter."""

    number: int = 1
    pending: list[Draft] = field(default_factory=list["Draft"])
    last: int = 0
    """When the last node was met."""
    waits: bool = False
    """Whether anything is ever waited for here."""

    def emit(self, draft: Draft, now: int) -> None:
        """Note a node whose end nobody waits for yet."""
        draft.starts, draft.settled = self.number, None
        self.pending.append(draft)
        self.last = now

    def settle(self, drafts: Sequence[Draft], began: int, now: int, joined: str = "") -> None:
        """Note that these are waited for, in an `await` that began at `began`."""
        self.waits = True
        mine = self._take(drafts)
        if not mine:
            return
        just_now = all(draft.began >= began for draft in mine)
        last = len(mine) == 1 and mine[0].began >= self.last and mine[0].starts == self.number
        if not joined and not self.pending and (just_now or last):
            for draft in mine:
                draft.starts, draft.settled = None, 0
            return
        self.number += 1
        for draft in mine:
            draft.resolves, draft.settled, draft.joined = self.number, now, joined

    def hand_back(self, drafts: Sequence[Draft], now: int) -> None:
        """Note that these are returned: whoever waits for the function waits for them."""
        mine = self._take(drafts)
        if not mine:
            return
        first = max(draft.starts or 1 for draft in mine)
        number = self.number if self.number > first else self.number + 1
        alone = len(mine) == 1 and not self.pending and mine[0].began >= self.last
        for draft in mine:
            draft.settled = 0 if alone else now
            draft.starts, draft.resolves = (None, None) if alone else (draft.starts, number)

    def forget(self, drafts: Sequence[Draft]) -> None:
        """Note that these are a part of something that is waited for as a whole."""
        for draft in self._take(drafts):
            draft.starts, draft.settled = None, 0

    def _take(self, drafts: Sequence[Draft]) -> list[Draft]:
        mine = [draft for draft in self.pending if draft in drafts]
        self.pending = [draft for draft in self.pending if draft not in drafts]
        return mine


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Frame:
    """What `return` and `this` refer to."""

    this: Value = UNKNOWN
    home: ClassValue | None = None
    counter: Counter = field(default_factory=Counter)
    returned: Value = UNDEFINED
    arguments: Value = UNKNOWN
