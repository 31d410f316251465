"""The Gatekeeper: leases the account's slots to SousChefs, fairly.

Once per cycle it gets the requests of all SousChefs in one call. Woken instances go before new ones. Among SousChefs it
is max-min fair, counting what each holds already: nobody gets more while somebody who wants it has less.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """What one SousChef asks for in one cycle."""

    chef: int
    workflow: int
    held: int
    """Slots that it holds."""
    woken: int
    """Woken instances that wait for a slot."""
    fresh: int
    """New instances that wait for a slot."""
    limit: int
    """How many slots its workflow may hold in all."""


@dataclass(slots=True)
class Gatekeeper:
    """Shares out `slots`."""

    slots: int
    cycles: int = 0
    requests: int = 0
    """Calls, one a cycle however many instances there are."""
    _turn: int = field(default=0)

    def grant(self, requests: Sequence[SlotRequest]) -> dict[int, int]:
        """Return how many more slots each SousChef may use."""
        self.cycles += 1
        self.requests += 1
        held = {request.chef: request.held for request in requests}
        granted = dict.fromkeys(held, 0)
        for kind in ("woken", "fresh"):
            wants = self._within_limits(requests, {r.chef: getattr(r, kind) for r in requests}, granted)
            now = {chef: held[chef] + granted[chef] for chef in held}
            free = self.slots - sum(now.values())
            for chef, more in self._fill(wants, now, free).items():
                granted[chef] += more
        self._turn += 1
        return granted

    def _within_limits(
        self, requests: Sequence[SlotRequest], wants: dict[int, int], granted: Mapping[int, int]
    ) -> dict[int, int]:
        """Cut what is wanted to what the workflows may have."""
        by_workflow: dict[int, list[SlotRequest]] = {}
        for request in requests:
            by_workflow.setdefault(request.workflow, []).append(request)
        for group in by_workflow.values():
            now = {r.chef: r.held + granted[r.chef] for r in group}
            free = group[0].limit - sum(now.values())
            wants |= self._fill({r.chef: wants[r.chef] for r in group}, now, free)
        return wants

    def _fill(self, wants: Mapping[int, int], now: Mapping[int, int], free: int) -> dict[int, int]:
        """Pour `free` slots so that the lowest rise first; what cannot be divided goes round by turns."""
        if free <= 0 or not wants:
            return dict.fromkeys(wants, 0)
        if sum(wants.values()) <= free:
            return dict(wants)
        low, high = min(now.values()), max(now[chef] + want for chef, want in wants.items())
        while high - low > 1:
            level = (low + high) // 2
            if sum(_up_to(level, now[chef], want) for chef, want in wants.items()) <= free:
                low = level
            else:
                high = level
        poured = {chef: _up_to(low, now[chef], want) for chef, want in wants.items()}
        rest = free - sum(poured.values())
        thirsty = [chef for chef in wants if poured[chef] < wants[chef] and now[chef] + poured[chef] <= low]
        for place in range(min(rest, len(thirsty))):
            poured[thirsty[(place + self._turn) % len(thirsty)]] += 1
        return poured


def _up_to(level: int, now: int, want: int) -> int:
    return min(want, max(0, level - now))
