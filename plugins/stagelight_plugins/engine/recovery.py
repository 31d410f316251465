"""Recovery: what the last process left is taken over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.facts import EventName as E, Status

if TYPE_CHECKING:
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.store import Row

INTERRUPTED_AT_ONCE: Final = 500
"""How many instances are brought back at once."""


@dataclass(slots=True, eq=False)
class Recovery:
    """Brings back queues and instances."""

    house: House

    async def take_over(self) -> None:
        """Take over what the last process left: the queues, and the instances that it was running."""
        for (key, number), (queued, woken) in (await self.house.reader.call(self.house.store.queues)).items():
            if key in self.house.by_key:
                self.house.chef_of(self.house.by_key[key], max(0, number)).restore(queued, woken)
        self.house.demand()
        await self.bring_back()

    async def bring_back(self) -> None:
        """Queue what was running in the last process, before all that are new; go on with its rollbacks."""
        after = 0
        while rows := await self.house.reader.call(partial(self._interrupted, after)):
            for row, bodies in rows:
                after = row.seq
                if row.workflow in self.house.by_key:
                    self._bring_back(self.house.take_in(row, bodies))
            await self.house.ledger.durable()

    def _interrupted(self, after: int) -> list[tuple[Row, list[bytes | str]]]:
        rows = self.house.store.interrupted(after, INTERRUPTED_AT_ONCE)
        return [(row, [entry.body for entry in self.house.store.journal(row.seq)]) for row in rows]

    def _bring_back(self, engine: Engine) -> None:
        if engine.execution is not None or engine.rollback is not None or engine.holds_slot:
            return
        if engine.status is Status.WAITING_FOR_PAUSE:
            engine.note(E.WORKFLOW_PAUSED)
            engine.put(Status.PAUSED, alarm=None)
        elif engine.status is Status.ROLLING_BACK and engine.workflow.known:
            self.house.chef(engine).adopt(engine)
        elif engine.status is Status.RUNNING:
            engine.interrupted()
        self.house.rest(engine)
