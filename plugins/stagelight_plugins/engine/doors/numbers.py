"""Numbered pages on top of cursors: page n goes on where page n - 1 of the same list ended.

Clients of the public API ask for `page=1`, `page=2`, …. Where each page ended is remembered, so that a walk costs what it
would with cursors, and is as consistent; a page whose predecessor was forgotten is found by walking.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.facts import InstancePage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REMEMBERED: Final = 1_000
"""Ends of pages that are remembered, of all lists together."""

Key = tuple[object, ...]
"""What makes a list the same list: the workflow, its filters and the length of its pages."""


@dataclass(slots=True)
class PageNumbers:
    """Finds pages by number."""

    _ends: OrderedDict[tuple[Key, int], str] = field(default_factory=OrderedDict[tuple[Key, int], str])

    async def page(
        self, key: Key, number: int, cursor: str, read: Callable[[str], Awaitable[InstancePage]]
    ) -> InstancePage:
        """Return a page; `read` returns the one at a cursor, and `cursor` is where the first one begins."""
        at, start = number, cursor
        while at > 1:
            if (known := self._ends.get((key, at - 1))) is not None:
                start = known
                break
            at -= 1
        found = InstancePage(instances=())
        for now in range(at, number + 1):
            if now > 1 and not start:
                return InstancePage(instances=(), total=found.total)
            found = await read(start)
            start = found.next
            self._remember(key, now, start)
        return found

    def _remember(self, key: Key, number: int, end: str) -> None:
        self._ends[key, number] = end
        self._ends.move_to_end((key, number))
        if len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)
