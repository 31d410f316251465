"""The archive moves what the journal holds into history, each batch exactly once (invariant I1).

A batch is a range of journal entries that is written down in the journal before it is inserted. After a crash the
same range is built again, and history leaves out what it has already; only then are the entries deleted.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.history import HistoryError
from stagelight_collector.journal import JournalError
from stagelight_plugins.hookspecs import Batch, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_collector.attribution import Attribution
    from stagelight_collector.decode import Decoded
    from stagelight_collector.history import History
    from stagelight_collector.journal import Entry, Journal, Plan

LINGER_SECONDS: Final = 1.0
"""How long a batch gathers."""
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 16 << 20
"""A batch closes at so many rows, or so many bytes of journal."""
CACHE_BYTES: Final = 64 << 20
"""So many journal bytes' worth of decoded batches wait in memory; beyond it they are decoded again."""
BACK_OFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

_log = logging.getLogger(__name__)


def concatenate(tables: Iterable[Table]) -> dict[str, list[Any]]:
    """Join tables that have the same columns, or none."""
    joined: dict[str, list[Any]] = {}
    for table in tables:
        for column, values in table.items():
            joined.setdefault(column, []).extend(values)
    return joined


def rows(batch: Batch) -> int:
    """Return how many rows of history a batch makes."""
    return sum(len(next(iter(table.values()), ())) for table in (batch.traces, batch.logs)) + len(
        batch.events
    )


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
    inserted: int = 0
    retries: int = 0
    refused: int = 0
    """Journal entries that were set aside: history refused them for good, or they could not be decoded."""
    problem: str = ""
    """Why history does not take batches at the moment; empty while all is well."""
    _cache: dict[int, tuple[Batch, int]] = field(default_factory=dict[int, "tuple[Batch, int]"])
    _cached_bytes: int = 0
    _unplanned: list[int] = field(default_factory=list[int])
    """A heap of the decoded entries' numbers; they need not be consecutive."""
    _planned: dict[Plan, list[int]] = field(default_factory=dict["Plan", list[int]])
    """Which entries the current plan holds; empty where it is from before a restart."""
    _extra: list[Event] = field(default_factory=list["Event"])
    _stored: list[asyncio.Future[None]] = field(default_factory=list["asyncio.Future[None]"])
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    # --- in -------------------------------------------------------------------------------------------------------

    def take(self, batch: Batch, size: int) -> None:
        """Take a decoded batch of the journal, `size` bytes there."""
        if batch.seq <= self.journal.committed:
            return
        heapq.heappush(self._unplanned, batch.seq)
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cache[batch.seq] = (batch, size)
            self._cached_bytes += size
        self._news.set()

    def refuse(self, entry: Entry) -> None:
        """Set aside an entry that cannot be decoded."""
        self._set_aside([entry])
        self.take(Batch(seq=entry.seq), 0)

    def add(self, events: Iterable[Event]) -> None:
        """Take events that are no batch of the journal; they go with the next insert."""
        self._extra.extend(events)
        self._news.set()

    async def store(self, events: Iterable[Event]) -> None:
        """Take events, and return when history has them."""
        stored = asyncio.get_running_loop().create_future()
        self._stored.append(stored)
        self.add(events)
        await stored

    @property
    def behind(self) -> int:
        """How many journal entries history has yet to take."""
        return self.journal.tail - self.journal.committed

    # --- out ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Insert until cancelled."""
        while True:
            await self._news.wait()
            await self.sleep(LINGER_SECONDS)
            self._news.clear()
            try:
                await self.drain()
            except JournalError as error:
                self.problem = f"the journal does not hand over: {error}"
                _log.warning("%s", self.problem)
                await self.sleep(BACK_OFF_SECONDS[-1])
                self._news.set()

    async def drain(self) -> None:
        """Insert everything that was taken so far."""
        async with self._turn:
            while await self._step():
                pass

    async def _step(self) -> bool:
        """Insert one batch; return whether there was one."""
        left_over = await self.journal.unfinished()
        plan = left_over or await self._plan()
        stored, self._stored = self._stored, []
        extra, self._extra = self._extra, []
        if plan is not None:
            await self._insert_plan(plan, again=left_over is not None)
        if extra:
            await self._insert(Batch(seq=0, events=extra), "")
        for future in stored:
            if not future.done():
                future.set_result(None)
        return plan is not None or bool(extra)

    async def _plan(self) -> Plan | None:
        size = count = 0
        seqs: list[int] = []
        held = self.attribution.held
        while self._unplanned and self._unplanned[0] <= self.journal.committed:
            heapq.heappop(self._unplanned)
        while self._unplanned and count < MAX_ROWS and size < MAX_BYTES:
            if held is not None and self._unplanned[0] >= held:
                break
            seqs.append(heapq.heappop(self._unplanned))
            batch, bytes_ = self._cache.get(seqs[-1], (None, MAX_BYTES // 8))
            count += rows(batch) if batch else 0
            size += bytes_
        if not seqs:
            return None
        try:
            plan = await self.journal.plan(seqs[-1])
        except ValueError:
            _log.warning(
                "the journal lost entries up to %d to a damaged disk before they were in history", seqs[-1]
            )
            return None
        except JournalError:
            for seq in seqs:
                heapq.heappush(self._unplanned, seq)
            raise
        self._planned = {plan: seqs}
        return plan

    async def _insert_plan(self, plan: Plan, *, again: bool) -> None:
        batches = await self._batches(plan)
        merged = Batch(
            seq=plan.last,
            events=[event for batch in batches for event in batch.events],
            traces=concatenate(batch.traces for batch in batches),
            logs=concatenate(batch.logs for batch in batches),
        )
        if not await self._insert(merged, f"journal-{plan.first}-{plan.last}", again=again):
            self._set_aside(await self._entries(plan))
        await self.journal.commit(plan.last)
        for seq in [seq for seq in self._cache if seq <= plan.last]:
            self._cached_bytes -= self._cache.pop(seq)[1]

    async def _batches(self, plan: Plan) -> Sequence[Batch]:
        seqs = self._planned.pop(plan, None)
        # The range may hold more than was decoded when it was planned: what is committed is what the journal has.
        complete = seqs is not None and len(seqs) == plan.last - plan.first + 1
        if seqs is not None and complete and self._cache.keys() >= set(seqs):
            return [self._cache[seq][0] for seq in seqs]
        batches: list[Batch] = []
        for entry in await self._entries(plan):
            item = self._cache.get(entry.seq)
            batches.append(item[0] if item else self._again(entry))
        return batches

    def _again(self, entry: Entry) -> Batch:
        try:
            decoded = self.decode(entry)
        except Exception:  # noqa: BLE001 - it was logged and set aside when it first failed
            return Batch(seq=entry.seq)
        events = self.attribution.resolve(decoded.events, entry.received, entry.seq)
        return Batch(seq=entry.seq, events=events, traces=decoded.traces, logs=decoded.logs)

    async def _entries(self, plan: Plan) -> list[Entry]:
        entries: list[Entry] = []
        after = plan.first - 1
        while after < plan.last and (page := await self.journal.read(after)):
            entries += [entry for entry in page if entry.seq <= plan.last]
            after = page[-1].seq
        return entries

    async def _insert(self, batch: Batch, token: str, *, again: bool = False) -> bool:
        """Insert a batch, however often it takes; return False if history refuses it for good."""
        attempt = 0
        while True:
            try:
                await self.history.insert(batch, token, again=again or attempt > 0)
            except HistoryError as error:
                if not error.retryable:
                    _log.error(
                        "history refuses a batch of %d rows, which is set aside: %s", rows(batch), error
                    )
                    return False
                self.problem = f"history does not take batches: {error}"
                self.retries += 1
                _log.warning("%s (attempt %d)", self.problem, attempt + 1)
                await self.sleep(BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)])
                attempt += 1
            else:
                self.inserted += rows(batch)
                self.problem = ""
                return True

    def _set_aside(self, entries: Iterable[Entry]) -> None:
        self.aside.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            self.refused += 1
            (self.aside / f"{entry.seq}-{entry.signal}.pb").write_bytes(entry.body)
