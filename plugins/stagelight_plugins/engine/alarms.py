"""Alarms: every instance that must be looked at has one in the store; it comes at least once, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.facts import Status

if TYPE_CHECKING:
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.store import Row

START_ALARM: Final = 5_000
"""After how many milliseconds somebody looks whether a new instance was registered with its SousChef."""
ALARMS: Final = 256
"""Alarms that are looked after at once."""


@dataclass(slots=True, eq=False)
class Alarms:
    """Looks after alarms when they have come."""

    house: House
    next: int | None = 0
    """When the next one comes, Unix milliseconds, as far as is known."""
    looking: bool = False

    def expect(self, due: int | None) -> None:
        """Hear of an alarm that was set."""
        if due is not None and (self.next is None or due < self.next):
            self.next = due

    def look(self) -> None:
        """Look whether an alarm has come. Called several times a second."""
        if (
            not self.looking
            and not self.house.stopped
            and self.next is not None
            and self.next <= self.house.clock.now()
        ):
            self.looking = True
            self.house.keep(self.house.loop.create_task(self._run()))

    async def _run(self) -> None:
        try:
            more = True
            while more and not self.house.stopped:
                # What is set from here on is heard of; what was set before is on disk before it is read.
                self.next = None
                await self.house.ledger.durable()
                now = self.house.clock.now()

                def read(now: int = now) -> tuple[list[tuple[Row, list[bytes | str]]], int | None]:
                    rows = self.house.store.due(now, ALARMS)
                    needed = [row for row in rows if row.status == Status.WAITING]
                    bodies = {
                        row.seq: [entry.body for entry in self.house.store.journal(row.seq)] for row in needed
                    }
                    return [(row, bodies.get(row.seq, [])) for row in rows], self.house.store.next_alarm()

                found, following = await self.house.patiently(read)
                for row, bodies in found:
                    self._come(row, bodies, now)
                self.expect(following)
                more = len(found) == ALARMS
        finally:
            self.looking = False

    def _come(self, row: Row, bodies: list[bytes | str], now: int) -> None:
        """Do what an alarm is for. It may come twice."""
        engine = self.house.engines.get(row.seq)
        status = Status(row.status if engine is None else engine.row.status)
        current = row if engine is None else engine.row
        if current.alarm is not None and current.alarm > now:
            return
        if status.ended:
            if (current.ended or 0) + current.retention <= now:
                self._expire(row, engine)
            else:
                self.house.ledger.change(row.seq, {"alarm": (current.ended or 0) + current.retention})
        elif status is Status.WAITING:
            (engine or self.house.take_in(row, bodies)).poke()
        else:
            if engine is not None:
                self.house.register(engine)
                if engine.execution is not None:
                    engine.poke()
            current.alarm = None
            self.house.ledger.change(row.seq, {"alarm": None})

    def _expire(self, row: Row, engine: Engine | None) -> None:
        """Forget an instance whose retention is over."""
        if engine is not None:
            engine.delete()
        else:
            self.house.count(self.house.by_key[row.workflow], row.status, None)
            self.house.ledger.remove(row.seq)
