"""The journal as the event loop sees it: group commit on one thread, reading on another, no blocking call."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from stagelight_collector.journal.contract import Entry, JournalClosed, JournalFull, JournalUnavailable
from stagelight_collector.journal.file import ENTRY_OVERHEAD, Arrival, JournalFile
from stagelight_collector.journal.reader import Reader
from stagelight_collector.journal.schema import is_corruption

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stagelight_collector.journal.contract import Plan, Signal

_T = TypeVar("_T")
_Body: TypeAlias = bytes
"""Inside the class, `bytes` is a property."""

_GROUP_BYTES: Final = 32 << 20
_QUEUE_BYTES: Final = 64 << 20


@dataclass(slots=True)
class JournalCounters:
    """Since `open`."""

    appended: int = 0
    duplicates: int = 0
    """Requests whose bytes were here already."""
    refused_full: int = 0
    failed: int = 0
    """Appends that the disk refused."""
    groups: int = 0
    """Transactions that stored arrivals: `appended / groups` shared one sync."""
    damaged: int = 0
    """Entries that the disk changed, read as empty."""


class Journal:
    """An inbox that survives `kill -9` and power loss (as far as the disk keeps its word about syncing).

    Use from one event loop. `open` and `close` may be called at any time, any number of times; outside of them
    every operation raises `JournalClosed`. Whatever the disk refuses is a `JournalUnavailable`, with nothing
    acknowledged, and the next call tries again.

    Args:
        path: the SQLite file; its directory is made if needed.
        capacity_bytes: how much may wait for history before `append` refuses.
        clock: Unix time in nanoseconds.
    """

    def __init__(
        self, path: Path, *, capacity_bytes: int = 1 << 30, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._path = path
        self._capacity = capacity_bytes
        self._reader = Reader(path)
        self._file = JournalFile(path, self._reader, clock=clock)
        self._threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None
        self._door = asyncio.Lock()
        self._closing = False
        self._waiting: list[tuple[Arrival, asyncio.Future[Entry | None]]] = []
        self._queued = 0
        self._flusher: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()
        self.counters = JournalCounters()

    @property
    def committed(self) -> int:
        """Entries up to this one are in history and gone from here."""
        return self._file.extent.committed

    @property
    def tail(self) -> int:
        """The newest entry's number; `committed` if there is none."""
        return self._file.extent.tail

    @property
    def entries(self) -> int:
        """How many entries wait for history."""
        return self._file.extent.entries

    @property
    def bytes(self) -> int:
        """What they use of the capacity: their bodies and a fixed overhead each."""
        return self._file.extent.bytes

    @property
    def capacity_bytes(self) -> int:
        """Where `append` begins to refuse."""
        return self._capacity

    async def open(self) -> None:
        """Make or open the file; a damaged one is set aside with a logged line and what is readable is kept.

        Raises:
            JournalLocked: another process has it open.
            JournalUnavailable: the disk refuses, or a newer release wrote the file.
        """
        async with self._door:
            if self._threads is not None:
                return
            self._threads = (
                ThreadPoolExecutor(1, thread_name_prefix="journal-writer"),
                ThreadPoolExecutor(1, thread_name_prefix="journal-reader"),
            )
            self._closing = False
            self.counters = JournalCounters()
            try:
                await self._write(self._file.open)
            except BaseException:
                self._join()
                raise

    async def close(self) -> None:
        """Store what was appended, then join both threads."""
        async with self._door:
            if self._threads is None:
                return
            self._closing = True
            if self._flusher is not None:
                await asyncio.wait([self._flusher])
            try:
                await self._read(self._reader.close)
                await self._write(self._file.close)
            finally:
                self._join()
                self._announce()

    async def append(self, signal: Signal, body: _Body, received: int) -> Entry | None:
        """Store one request and return after it is synced; None if these bytes were stored in the last ten minutes.

        Raises:
            JournalFull: no room until history takes some.
            JournalUnavailable: the disk refused; the bytes are not stored.
        """
        return await self.submit(signal, body, received)

    def submit(self, signal: Signal, body: _Body, received: int) -> asyncio.Future[Entry | None]:
        """Begin to `append`, which goes on whether or not anybody waits for it; the future's callbacks are called in order.

        Raises:
            JournalFull: no room until history takes some.
        """
        self._require_open()
        cost = len(body) + ENTRY_OVERHEAD
        used = self.bytes + self._queued
        if used + cost > self._capacity or self._queued > _QUEUE_BYTES:
            self.counters.refused_full += 1
            raise JournalFull(used, self._capacity)
        stored: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((Arrival(signal, body, received), stored))
        self._queued += cost
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="journal-flusher")
        return stored

    async def read(self, after: int, limit_bytes: int = 8 << 20) -> list[Entry]:
        """The entries after `after` in order, at least one if there is one, until the bodies pass `limit_bytes`."""
        self._require_open()
        entries = await self._read(self._reader.read, after, limit_bytes)
        self.counters.damaged = self._reader.damaged
        return entries

    async def wait(self, after: int) -> None:
        """Return once there is an entry after `after`.

        Raises:
            JournalClosed: the journal was closed meanwhile.
        """
        self._require_open()
        while self.tail <= after:
            await self._grown.wait()
            self._require_open()

    async def plan(self, last: int) -> Plan:
        """Record durably that the next batch is everything up to `last`; an unfinished plan wins.

        Raises:
            ValueError: `last` is not among the entries.
        """
        self._require_open()
        return await self._write(self._file.plan, last)

    async def unfinished(self) -> Plan | None:
        """The plan that a crash or an error left behind: hand over exactly that batch first."""
        self._require_open()
        return await self._write(self._file.unfinished)

    async def commit(self, last: int) -> None:
        """Entries up to `last` are in history: delete them and the plan, in portions between the appends.

        After a crash, an error or `close` in between, `committed` is what was deleted, and the plan is for the rest.
        """
        done = False
        while not done:
            self._require_open()
            done = await self._write(self._file.commit, last)

    async def _flush(self) -> None:
        """One transaction after another, each with all that arrived during the one before."""
        while self._waiting:
            group = self._take_group()
            try:
                seqs = await self._write(self._file.append, [arrival for arrival, _ in group])
            except Exception as error:  # noqa: BLE001 # every waiting sender must hear of it
                self._fail(group, error)
            else:
                self._acknowledge(group, seqs)

    def _take_group(self) -> list[tuple[Arrival, asyncio.Future[Entry | None]]]:
        size = count = 0
        for arrival, _ in self._waiting:
            size += len(arrival.body)
            count += 1
            if size >= _GROUP_BYTES:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _acknowledge(
        self, group: list[tuple[Arrival, asyncio.Future[Entry | None]]], seqs: list[int | None]
    ) -> None:
        self.counters.groups += 1
        for (arrival, stored), seq in zip(group, seqs, strict=True):
            self._queued -= len(arrival.body) + ENTRY_OVERHEAD
            entry = None
            if seq is None:
                self.counters.duplicates += 1
            else:
                self.counters.appended += 1
                entry = Entry(seq, arrival.signal, arrival.received, arrival.body)
            if not stored.done():  # the sender may have gone
                stored.set_result(entry)
        self._announce()

    def _fail(self, group: list[tuple[Arrival, asyncio.Future[Entry | None]]], error: Exception) -> None:
        self.counters.failed += len(group)
        for arrival, stored in group:
            self._queued -= len(arrival.body) + ENTRY_OVERHEAD
            if not stored.done():
                stored.set_exception(JournalUnavailable(self._path, _reason(error)))

    def _announce(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def _require_open(self) -> None:
        if self._threads is None or self._closing:
            raise JournalClosed

    def _join(self) -> None:
        """The threads are idle by now, so joining takes microseconds."""
        threads, self._threads = self._threads, None
        for thread in threads or ():
            thread.shutdown()

    async def _write(self, work: Callable[..., _T], *args: object) -> _T:
        return await self._run(0, work, *args)

    async def _read(self, work: Callable[..., _T], *args: object) -> _T:
        return await self._run(1, work, *args)

    async def _run(self, thread: int, work: Callable[..., _T], *args: object) -> _T:
        try:
            try:
                return await self._in_thread(thread, work, *args)
            except sqlite3.DatabaseError as error:
                if not is_corruption(error):
                    raise
            # What is damaged is set aside; the call is then made on what could be kept.
            self._file.damaged = True
            await self._in_thread(0, self._file.mend)
            return await self._in_thread(thread, work, *args)
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailable(self._path, _reason(error)) from error

    async def _in_thread(self, thread: int, work: Callable[..., _T], *args: object) -> _T:
        if self._threads is None:
            raise JournalClosed
        return await asyncio.get_running_loop().run_in_executor(self._threads[thread], work, *args)


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, JournalUnavailable) else str(error) or type(error).__name__
