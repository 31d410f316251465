"""The archive moves what the journal holds into history, each batch exactly once (invariant I1).

A batch is a range of journal entries that is written down in the journal before it is inserted. After a crash the
same range, or what is left of it, is built again, and history leaves out what it has already; then the entries go. A range
holds all events of its own entries: one of which an event still waits for its run does not go in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stagelight_collector.decode import takes_long
from stagelight_collector.history import HistoryClosed, HistoryError
from stagelight_collector.refusals import Refusals
from stagelight_collector.shelf import Shelf, by_days, days, merge, rows, share
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_collector.attribution import Attribution, Found
    from stagelight_collector.decode import Decoded
    from stagelight_collector.history import History
    from stagelight_collector.journal import Entry, Journal, Plan

LINGER_SECONDS: Final = 1.0
"""How long a batch gathers, at least."""
LONGEST_LINGER_SECONDS: Final = 5.0
"""At most; one that is full gathers no longer."""
SHARE: Final = 20
"""Inserts take one part in so many of the time, if that lets a batch gather longer: each costs the engine 40 to 90 ms, and its part in
merges, before the first row."""
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 16 << 20
"""A batch closes at so many rows, or so many bytes of journal; at twice as many of spans that the engine decodes."""
MAX_DAYS: Final = 90
"""A batch holds rows of so many UTC days: ClickHouse refuses more than 100. One entry that has more is cut up."""
BACK_OFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

_log = logging.getLogger(__name__)


class ArchiveStopped(Exception):
    """The collector goes down: history has not said that it has these events."""

    def __init__(self) -> None:
        super().__init__("the collector is going down; hand the events over again after its next start")


class _Loaded(NamedTuple):
    """An entry on its way into history."""

    seq: int
    batch: Batch
    size: int
    """Bytes in the journal."""
    sound: bool = True
    """Whether it could be decoded; if not it is set aside."""


@dataclass(slots=True, eq=False)
class _Loose:
    """A batch that is no entry of the journal, and who waits to hear that history has it."""

    batch: Batch
    stored: asyncio.Future[None] | None = None
    again: bool = False
    """Whether history may have some of it already."""


@dataclass(slots=True, kw_only=True)
class Archive:
    """Inserts batches one after the other, for ever trying again while history is away."""

    journal: Journal
    history: History
    attribution: Attribution
    decode: Callable[[Entry], Decoded]
    aside: Path
    """Where what history refuses for good is set aside."""
    sleep: Callable[[float], Any] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    shelf: Shelf = field(default_factory=Shelf)
    refusals: Refusals = field(init=False)
    inserted: int = 0
    retries: int = 0
    turned_away: int = 0
    """Events outside the journal that history refused for good; whoever waited for them was told."""
    problem: str = ""
    """Why history does not take batches at the moment; empty while all is well."""
    _handed: int = 0
    """Entries up to this one were handed over, or given up, by the pipeline."""
    _gathered: int = 0
    """Rows that were handed over since the last batch, as they count."""
    _took: float = 0.0
    """Seconds that the last inserts took."""
    _loose: list[_Loose] = field(default_factory=list[_Loose])
    _stopped: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.aside)

    @property
    def refused(self) -> int:
        """Journal entries that were set aside: history refused them for good, or they could not be decoded."""
        return self.refusals.kept

    @property
    def refused_dropped(self) -> int:
        """Journal entries that were refused and given up, because what is set aside is bounded."""
        return self.refusals.dropped

    # --- in -------------------------------------------------------------------------------------------------------

    def take(self, batch: Batch, size: int) -> None:
        """Take a decoded batch of the journal, `size` bytes there. Batches come in the order of the journal."""
        if batch.seq > self.journal.committed:
            self.shelf.put(batch, size)
        self._gathered += self._share(batch, rows(batch))
        self.note(batch.seq)

    def note(self, seq: int) -> None:
        """Hear that the pipeline is done with an entry; what was not taken is decoded again."""
        self._handed = max(self._handed, seq)
        self.wake()

    def add(self, found: Iterable[Found]) -> None:
        """Take events that waited for their run; each goes in with the entry that it came in."""
        orphans: list[Event] = []
        for item in found:
            if item.seq > self.journal.committed:
                self.shelf.add(item.seq, item.event)
            else:
                orphans.append(item.event)
        if orphans:
            self._loose.append(_Loose(Batch(seq=0, events=orphans)))
            self.wake()

    async def store(self, events: Sequence[Event]) -> None:
        """Take events that are durable elsewhere, and return when history has them.

        Raises:
            HistoryError: History refuses them for good.
            ArchiveStopped: The collector is going down; they may or may not be in history.
        """
        await self._store(Batch(seq=0, events=events), again=False)

    async def restore(self, batch: Batch) -> None:
        """Take what may be in history already, in part or in whole, and return when all of it is there once.

        Raises:
            HistoryError: History refuses it for good.
            ArchiveStopped: The collector is going down; it may or may not be in history.
        """
        await self._store(batch, again=True)

    async def _store(self, batch: Batch, *, again: bool) -> None:
        if self._stopped:
            raise ArchiveStopped
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loose.append(_Loose(batch, stored, again))
        self.wake()
        await stored

    def wake(self) -> None:
        """Look again whether something can go in: call it when less waits for its run (`Attribution.held`)."""
        self._news.set()

    @property
    def behind(self) -> int:
        """How many journal entries history has yet to take."""
        return self.journal.tail - self.journal.committed

    # --- out ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Insert until cancelled; then whoever waits in `store` is told."""
        failures = 0
        try:
            while True:
                await self._news.wait()
                await self._gather(min(self._took * SHARE, LONGEST_LINGER_SECONDS))
                self._news.clear()
                failures = await self._attempt(failures)
        finally:
            self._stop()

    async def _gather(self, seconds: float) -> None:
        """Let a batch gather."""
        until = self.clock() + seconds
        await self.sleep(LINGER_SECONDS)
        while self.clock() < until and not self._is_full():
            await self.sleep(min(LINGER_SECONDS, until - self.clock()))

    def _is_full(self) -> bool:
        """Whether a batch should gather no longer: it is full, part of it is not kept, or somebody waits for it."""
        waited_for = any(loose.stored is not None for loose in self._loose)
        return (
            self._gathered >= MAX_ROWS
            or self.journal.bytes >= (2 * MAX_BYTES if self.history.decodes_spans else MAX_BYTES)
            or self.shelf.overflowed
            or waited_for
        )

    async def drain(self) -> None:
        """Insert everything that was taken so far, but for what waits for its run.

        What comes meanwhile gathers for the next time: batches that follow each other closely would be small ones.
        """
        async with self._turn:
            until = self._handed
            self._gathered, self._took = 0, 0.0
            while await self._step() and self.journal.committed < until:
                pass
        self.problem = ""

    async def _attempt(self, failures: int) -> int:
        """Drain; after a failure say so, wait and look again. Return the number of failures in a row."""
        try:
            await self.drain()
        except Exception as error:  # noqa: BLE001 - nothing is committed then, so it is all done again
            self.problem = f"what was received does not get into history: {type(error).__name__}: {error}"
            _log.warning("%s", self.problem, exc_info=error)
            await self._back_off(failures)
            self.wake()
            return failures + 1
        return 0

    def _stop(self) -> None:
        self._stopped = True
        for loose in self._loose:
            if loose.stored is not None and not loose.stored.done():
                loose.stored.set_exception(ArchiveStopped())
        self._loose.clear()

    async def _step(self) -> bool:
        """Insert what is loose, then one batch; return whether there was either."""
        some = await self._insert_loose()
        left_over = await self.journal.unfinished()
        ready = self._ready()
        if left_over is not None and min(left_over.last, self.journal.tail) > ready:
            return some
        load = await self._load(ready) if left_over is None else await self._load_all(left_over)
        if left_over is None and not load:
            return some
        plan = left_over or await self.journal.plan(load[-1].seq)
        await self._insert_plan(plan, load, again=left_over is not None)
        return True

    def _ready(self) -> int:
        """Return up to which entry all was handed over and has found its run; what a damaged journal lost is no part of it."""
        handed = min(max(self._handed, self.journal.committed), self.journal.tail)
        held = self.attribution.held
        return handed if held is None else min(handed, held - 1)

    async def _load(self, ready: int) -> list[_Loaded]:
        """Return the next entries and their batches, as many as make one insert."""
        load: list[_Loaded] = []
        height, size, dates = 0, 0, set[int]()
        async with aclosing(self._entries(self.journal.committed, ready)) as entries:
            async for loaded in entries:
                height += self._share(loaded.batch, rows(loaded.batch))
                size += self._share(loaded.batch, loaded.size)
                dates |= days(loaded.batch)
                if load and (height > MAX_ROWS or size > MAX_BYTES or len(dates) > MAX_DAYS):
                    break
                load.append(loaded)
        return load

    def _share(self, batch: Batch, count: int) -> int:
        return share(batch, count) if self.history.decodes_spans else count

    async def _load_all(self, plan: Plan) -> list[_Loaded]:
        """Return the entries of a plan that was not finished, and their batches."""
        async with aclosing(self._entries(plan.first - 1, plan.last)) as entries:
            return [loaded async for loaded in entries]

    async def _entries(self, after: int, last: int) -> AsyncGenerator[_Loaded]:
        """Yield entries with their batches, as they were kept; what was not is read from the journal and decoded again."""
        while after < last:
            if kept := self.shelf.get(after + 1):
                after += 1
                yield _Loaded(after, *kept)
                continue
            page = await self.journal.read(after, MAX_BYTES)
            for entry in page:
                if entry.seq > last:
                    return
                kept = self.shelf.get(entry.seq)
                yield _Loaded(entry.seq, *kept) if kept else await self._decoded(entry)
                after = entry.seq
            if not page:
                return

    async def _decoded(self, entry: Entry) -> _Loaded:
        """Return an entry with its batch, decoded again."""
        size = len(entry.body)
        try:
            if takes_long(None, entry.body):
                decoded = await asyncio.to_thread(self.decode, entry)
            else:
                await asyncio.sleep(0)  # many small ones in a row: others get their turn
                decoded = self.decode(entry)
        except Exception:  # noqa: BLE001 - the pipeline has logged it
            return _Loaded(entry.seq, Batch(seq=entry.seq), size, sound=False)
        return _Loaded(entry.seq, decoded.batch(entry.seq, self.attribution.settle(decoded.events)), size)

    async def _insert_plan(self, plan: Plan, load: Sequence[_Loaded], *, again: bool) -> None:
        merged = merge(plan.last, [loaded.batch for loaded in load])
        refused = [loaded.seq for loaded in load if not loaded.sound]
        error = await self._insert(merged, f"journal-{plan.first}-{plan.last}", again=again)
        # As columns, in case that the engine's decoder is at fault; one by one, so that none takes others down.
        if error is not None and await self._insert_parts(merged) is not None:
            refused += await self._insert_apart(load)
        for seq in refused:
            await self._set_aside(seq)
        await self.journal.commit(plan.last)
        self.shelf.drop(plan.last)

    async def _set_aside(self, seq: int) -> None:
        for entry in await self.journal.read(seq - 1, limit_bytes=1):
            if entry.seq == seq:
                await asyncio.to_thread(self.refusals.keep, entry)
            else:
                _log.error("request %d, which history refuses, is no longer in the journal: it is lost", seq)

    async def _insert_apart(self, load: Iterable[_Loaded]) -> list[int]:
        """Insert entries one by one, and in parts of few days, so that none takes others down; return the refused."""
        refused: list[int] = []
        for loaded in load:
            if error := await self._insert_parts(loaded.batch):
                _log.error("history refuses request %d, which is set aside: %s", loaded.seq, error)
                refused.append(loaded.seq)
        return refused

    async def _insert_loose(self) -> bool:
        """Insert what is no entry of the journal; return whether there was any."""
        loose = self._loose[:]
        if not loose:
            return False
        merged = merge(0, [item.batch for item in loose])
        error = await self._insert(merged, "", again=any(item.again for item in loose))
        for item in loose:
            # If one of them is at fault: each for itself.
            self._answer(item, None if error is None else await self._insert_parts(item.batch))
        return True

    async def _insert_parts(self, batch: Batch) -> HistoryError | None:
        """Insert a batch in parts of few days; return the first error if history refuses one for good."""
        cut = await asyncio.to_thread(lambda: list(by_days(batch, MAX_DAYS)))
        parts = [await self._insert(part, "", again=True) for part in cut]
        return next((error for error in parts if error is not None), None)

    def _answer(self, item: _Loose, error: HistoryError | None) -> None:
        """Tell whoever waits for these events what became of them."""
        self._loose.remove(item)
        if error is not None:
            self.turned_away += len(item.batch.events)
            _log.error("history refuses %d events: %s", len(item.batch.events), error)
        if item.stored is None or item.stored.done():
            return
        if error is None:
            item.stored.set_result(None)
        else:
            item.stored.set_exception(error)

    async def _insert(self, batch: Batch, token: str, *, again: bool = False) -> HistoryError | None:
        """Insert a batch, however often it takes; return the error if history refuses it for good."""
        attempt = 0
        while True:
            began = self.clock()
            try:
                await self.history.insert(batch, token, again=again or attempt > 0)
            except HistoryClosed:
                raise
            except HistoryError as error:
                if not error.retryable:
                    return error
                self.problem = f"history does not take batches: {error}"
                self.retries += 1
                _log.warning("%s (attempt %d)", self.problem, attempt + 1)
                await self._back_off(attempt)
                attempt += 1
            else:
                self.inserted += rows(batch)
                self._took += self.clock() - began
                self.problem = ""
                return None

    async def _back_off(self, attempt: int) -> None:
        await self.sleep(BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)])
