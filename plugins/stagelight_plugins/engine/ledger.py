"""The ledger: transitions gather while the disk is busy, and become durable together (group commit).

The event loop never waits for the disk: it adds transitions, and is called back when they are durable. While one
transaction is under way the next one gathers, so the more there is to do, the more goes into one sync.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from stagelight_plugins.engine.errors import StoreUnavailable
from stagelight_plugins.engine.store import Batch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from stagelight_plugins.engine.store import Row, Store

BACK_OFF_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)

MOST_STUCK: Final = 1_000
"""Transitions that may wait for a disk which refuses them; beyond it new work is refused."""

AT_ONCE: Final = 64
"""How many of those who wait are told before they have their turn."""

_log = logging.getLogger(__name__)


class Lane(Protocol):
    """Runs the store's work, one piece at a time, somewhere else than in the loop."""

    def submit(self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        """Run `work`, then call `done` in the loop with its answer, or with what it raised."""
        ...


@dataclass(slots=True)
class _Tick:
    batch: Batch = field(default_factory=Batch)
    settled: list[Callable[[], None]] = field(default_factory=list["Callable[[], None]"])
    created: dict[int, Callable[[bool], None]] = field(default_factory=dict[int, "Callable[[bool], None]"])
    size: int = 0


@dataclass(slots=True, eq=False)
class Ledger:
    """Collects transitions and makes them durable, tick after tick."""

    store: Store
    lane: Lane
    loop: asyncio.AbstractEventLoop
    problem: str = ""
    """Why the store cannot be written for now."""
    commits: int = 0
    transitions: int = 0
    journaled: int = 0
    """The place of the last row of the journal."""
    on_commit: Callable[[], None] = lambda: None
    """Called after each tick that wrote to the journal."""
    _tick: _Tick = field(default_factory=_Tick)
    _busy: bool = False
    _scheduled: bool = False
    _failures: int = 0
    _stuck: int = 0
    """Transitions of the tick that the disk refuses."""
    _settled: deque[Callable[[], None]] = field(default_factory=deque["Callable[[], None]"])
    _telling: bool = False
    _idle: deque[asyncio.Future[None]] = field(default_factory=deque["asyncio.Future[None]"])
    _closed: bool = False

    @property
    def pending(self) -> int:
        """How many transitions wait for the disk."""
        return self._tick.size

    def check(self, limit: int) -> None:
        """Refuse new work while the disk is too far behind.

        Raises:
            StoreUnavailable: It is.
        """
        if self._tick.size >= limit or (self.problem and self._tick.size + self._stuck > MOST_STUCK):
            raise StoreUnavailable(self.problem or "the disk is too slow for what is asked of it")

    # --- transitions ----------------------------------------------------------------------------------------------

    def create(self, row: Row, outcome: Callable[[bool], None]) -> None:
        """Insert an instance; `outcome` hears whether its id was free."""
        self._tick.batch.creates.append(row)
        self._tick.created[row.seq] = outcome
        self._more()

    def change(self, seq: int, columns: dict[str, Any]) -> None:
        """Set columns of an instance."""
        before = self._tick.batch.changes.get(seq)
        if before is None:
            self._tick.batch.changes[seq] = columns
        else:
            before.update(columns)
        self._more()

    def record(self, seq: int, body: bytes) -> None:
        """Append a record to an instance's journal."""
        records = self._tick.batch.journal.get(seq)
        if records is None:
            self._tick.batch.journal[seq] = [body]
        else:
            records.append(body)
        self._more()

    def remove(self, seq: int) -> None:
        """Forget an instance."""
        self._tick.batch.removals.append(seq)
        self._more()

    def part(self, seq: int, body: bytes) -> None:
        """Keep the last record of an instance that is forgotten, until it was told."""
        self._tick.batch.farewells[seq] = body
        self._more()

    def edit(self) -> Batch:
        """Return the batch that gathers, for what is rare: workflows, versions, facts."""
        self._more()
        return self._tick.batch

    def then(self, settled: Callable[[], None]) -> None:
        """Call `settled` when everything that was added so far is durable."""
        self._tick.settled.append(settled)
        self._more()

    def durable(self) -> asyncio.Future[None]:
        """Return a future that is done when everything that was added so far is durable."""
        future = self.loop.create_future()
        self.then(lambda: None if future.done() else future.set_result(None))
        return future

    async def drain(self) -> None:
        """Wait until nothing waits for the disk, also what is added meanwhile."""
        while self._busy or self._tick.size or self._settled:
            future = self.loop.create_future()
            self._idle.append(future)
            await future

    def close(self) -> None:
        """Write no more; call it after `drain`."""
        self._closed = True

    def abandon(self) -> None:
        """Forget what is not on disk yet, as the end of the process would; nobody was told that it is."""
        self._closed, self._busy, self._tick = True, False, _Tick()
        self._settled.clear()

    # --- commits --------------------------------------------------------------------------------------------------

    def _more(self) -> None:
        self._tick.size += 1
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self._busy or self._closed or not self._tick.size:
            return
        tick, self._tick = self._tick, _Tick()
        self._busy = True
        self._commit(tick)

    def _commit(self, tick: _Tick) -> None:
        self.lane.submit(
            lambda: self.store.write(tick.batch), lambda answer, error: self._done(tick, answer, error)
        )

    def _done(self, tick: _Tick, refused: list[int] | None, error: BaseException | None) -> None:
        if error is not None:
            self._again(tick, error)
            return
        self.problem, self._failures, self._stuck, self._busy = "", 0, 0, False
        self.commits += 1
        self.transitions += tick.size
        left_out = set(refused or ())
        self._settled.extend(partial(outcome, seq not in left_out) for seq, outcome in tick.created.items())
        self._settled.extend(tick.settled)
        if rows := len(tick.batch.journal) + len(tick.batch.farewells):
            self.journaled += rows
            self._settled.append(self.on_commit)
        if not self._telling:
            self._tell()
        self._go_on()

    def _tell(self) -> None:
        """Tell some of those who wait, then let them go on: the disk is busy with what they do while others are told."""
        self._telling = False
        for _ in range(min(AT_ONCE, len(self._settled))):
            self._settled.popleft()()
        if self._settled:
            self._telling = True
            self.loop.call_soon(self._tell)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._busy:
            return
        if self._tick.size:
            if not self._scheduled:
                self._scheduled = True
                self.loop.call_soon(self._send)
        elif not self._settled:
            while self._idle:
                waiter = self._idle.popleft()
                if not waiter.done():
                    waiter.set_result(None)

    def _again(self, tick: _Tick, error: BaseException) -> None:
        """Keep the tick and try again: nobody is told that it is durable until it is."""
        wait = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        self._stuck = tick.size
        self.problem = getattr(error, "reason", "") or f"{type(error).__name__}: {error}"
        _log.warning("the engine's store cannot be written, again in %g s: %s", wait, self.problem)
        if not self._closed:
            self.loop.call_later(wait, self._commit, tick)
