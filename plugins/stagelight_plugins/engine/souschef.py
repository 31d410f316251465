"""The SousChef: answers for a shard of one workflow's instances, that none of them is ever stuck.

It keeps the head of its queue in memory and the rest in the store, asks for slots once a cycle, and starts an instance
when it has one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from stagelight_plugins.engine.facts import ShardFigures, Status
from stagelight_plugins.engine.gatekeeper import SlotRequest

if TYPE_CHECKING:
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.workflow import Workflow

HEAD: Final = 512
"""How many queued instances are kept in memory, and read from the store at once."""


@dataclass(slots=True, eq=False)
class _Line:
    """The head of a queue; complete while it holds all of it."""

    head: deque[Engine] = field(default_factory=deque["Engine"])
    complete: bool = True
    count: int = 0

    def add(self, engine: Engine) -> None:
        self.count += 1
        if self.complete and len(self.head) < HEAD:
            self.head.append(engine)
            engine.in_line = True
        else:
            self.complete = False


@dataclass(slots=True, eq=False)
class SousChef:
    """A shard of one workflow's instances."""

    house: House
    workflow: Workflow
    number: int
    kind: Literal["souschef", "account_old"] = "souschef"
    woken: _Line = field(default_factory=_Line)
    fresh: _Line = field(default_factory=_Line)
    slots: int = 0
    granted: int = 0
    """Slots that were leased and are not in use yet, because the queue's head is being read."""
    _reading: bool = False
    _taken: set[int] = field(default_factory=set[int])
    """What left the queue while it was read."""

    @property
    def id(self) -> int:
        """A number that no other SousChef has."""
        return self.workflow.key * 1_000 + self.number

    @property
    def queued(self) -> int:
        """How many instances wait for a slot."""
        return self.woken.count + self.fresh.count

    def figures(self) -> ShardFigures:
        """Return what it holds."""
        return ShardFigures(
            number=self.number, kind=self.kind, queued=self.queued, woken=self.woken.count, slots=self.slots
        )

    def restore(self, queued: int, woken: int) -> None:
        """Take over a queue that is in the store."""
        self.woken.count, self.fresh.count = woken, queued - woken
        self.woken.complete, self.fresh.complete = not woken, queued == woken

    # --- the queue ------------------------------------------------------------------------------------------------

    def enqueue(self, engine: Engine, *, woken: bool) -> None:
        """Let an instance wait for a slot."""
        line = self.woken if woken else self.fresh
        if self._reading:
            line.complete = False
        line.add(engine)
        self.house.demand()

    def leave(self, engine: Engine) -> None:
        """Let an instance leave the queue without having been started."""
        rank = engine.row.rank
        line = self.woken if rank is not None and rank < 0 else self.fresh
        line.count = max(0, line.count - 1)
        if engine in line.head:
            line.head.remove(engine)
        engine.in_line = False
        self._note_taken(engine.row.seq)

    def _note_taken(self, seq: int) -> None:
        if self._reading:
            self._taken.add(seq)

    # --- slots ----------------------------------------------------------------------------------------------------

    def request(self) -> SlotRequest:
        """Say what it needs, for the one request of this cycle."""
        spare = self.granted
        woken = max(0, self.woken.count - spare)
        fresh = max(0, self.fresh.count - max(0, spare - self.woken.count))
        return SlotRequest(
            self.id, self.workflow.key, self.slots + spare, woken, fresh, self.house.limit_of(self.workflow)
        )

    def take(self, grant: int) -> None:
        """Start as many instances as were granted slots."""
        self.granted += grant
        while self.granted > 0 and (engine := self._next()) is not None:
            self.granted -= 1
            self.slots += 1
            self._note_taken(engine.row.seq)
            engine.run()
        if self.granted and self.queued:
            self._read()
        elif not self.queued:
            self.granted = 0

    def release(self, seq: int) -> None:
        """Give back the slot of an instance that ended, or waits."""
        self.slots -= 1
        self._note_taken(seq)
        if self.queued or self.house.waiting_for_slots:
            self.house.demand()

    def adopt(self, engine: Engine) -> None:
        """Take an instance that held a slot when the process ended."""
        self.slots += 1
        engine.run()

    def _next(self) -> Engine | None:
        for line in (self.woken, self.fresh):
            while line.head:
                engine = line.head.popleft()
                engine.in_line = False
                if engine.row.status == Status.QUEUED:
                    line.count -= 1
                    return engine
            if not line.complete:
                return None
        return None

    def _read(self) -> None:
        """Fetch the head of the queue from the store."""
        if self._reading:
            return
        self._reading = True
        self._taken.clear()
        self.woken.complete = self.fresh.complete = True
        self.house.fetch_queue(self, HEAD)

    def fetched(self, engines: list[Engine], *, all_of_it: bool) -> None:
        """Take the head of the queue as the store had it."""
        self._reading = False
        there = {engine.row.seq for line in (self.woken, self.fresh) for engine in line.head}
        for engine in engines:
            row = engine.row
            if row.status != Status.QUEUED or row.seq in self._taken or row.seq in there or engine.gone:
                continue
            engine.in_line = True
            (self.woken if row.rank is not None and row.rank < 0 else self.fresh).head.append(engine)
        if not all_of_it:
            self.fresh.complete = False
            if engines and (engines[-1].row.rank or 0) < 0:
                self.woken.complete = False
        self._correct()
        self.take(0)
        self.house.demand()

    def _correct(self) -> None:
        """What memory holds completely is also what there is: a figure that is off is set right."""
        for line in (self.woken, self.fresh):
            if line.complete:
                line.count = len(line.head)
