"""The journal's SQLite file: every method runs on the journal's writer thread.

WAL with `synchronous=FULL`: a commit returns after the log is synced, so one transaction of many arrivals costs
one sync. What left for history is deleted in portions, so that nobody waits long for that. Between a failed commit
and the next one the same connection is kept: SQLite then writes over the unsynced frames instead of believing them.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stagelight_collector.journal.contract import Plan, Signal
from stagelight_collector.journal.lock import FileLock
from stagelight_collector.journal.salvage import finish_renaming, is_interrupted, rebuild
from stagelight_collector.journal.schema import (
    PAGE_BYTES,
    WAL_CEILING,
    DamageFound,
    checksum_of,
    connect_writer,
    digest_of,
    is_corruption,
    is_damage_at_open,
    next_seq,
    sync_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from stagelight_collector.journal.reader import Reader

_log: Final = logging.getLogger(__name__)

SEEN_NS: Final = 600 * 10**9
SEEN_LIMIT: Final = 100_000
FORGET_NS: Final = 10**9
"""How often digests are forgotten: it costs as much as storing one request."""
ENTRY_OVERHEAD: Final = 256
"""Bytes that an entry is charged beside its body: its row, its digest and the digest's index."""
PORTION_BYTES: Final = 2 << 20
"""Entries of so many bytes are deleted in one transaction: who appends meanwhile waits some milliseconds."""
_VACUUM_PAGES: Final = 2 * PORTION_BYTES // PAGE_BYTES
_SPARE_PAGES: Final = (64 << 20) // PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that asks to be stored."""

    signal: Signal
    body: bytes
    received: int


@dataclass(frozen=True, slots=True)
class Extent:
    """What the file holds: the entries (committed, tail]."""

    committed: int = 0
    tail: int = 0
    entries: int = 0
    bytes: int = 0
    """Bodies and `ENTRY_OVERHEAD` each."""


class JournalFile:
    """The writing side. Raises `sqlite3.Error` and `OSError`; the caller translates."""

    def __init__(self, path: Path, reader: Reader, *, clock: Callable[[], int]) -> None:
        self._path = path
        self._reader = reader
        self._clock = clock
        self._lock: FileLock | None = None
        self._db: sqlite3.Connection | None = None
        self.extent = Extent()
        self._arrived = 0
        """Since digests were forgotten."""
        self._forget_at = 0
        self.damaged = False
        """Set by whoever meets corruption; the next use sets the file aside and keeps what is readable."""

    def open(self) -> None:
        """Lock, check and, where needed, mend the file.

        Raises:
            JournalLocked: another process has it.
            JournalUnavailable: another release's format.
        """
        if not self._path.parent.is_dir():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(self._path.parent.parent)
        self._lock = FileLock(self._path)
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Safe at any time, and twice. The lock goes last."""
        try:
            self._disconnect()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def append(self, arrivals: Sequence[Arrival]) -> list[int | None]:
        """Store all that is new in one transaction; the sequence number of each, None for a repetition."""
        with self._transaction() as db:
            now = self._clock()
            following = next_seq(db)
            seqs: list[int | None] = []
            for arrival in arrivals:
                new = _store(db, following, arrival, now)
                seqs.append(following if new else None)
                following += new
            arrived = self._arrived + len(arrivals)
            # Also when the clock was set back.
            forgets = not self._forget_at - FORGET_NS <= now < self._forget_at
            if forgets:
                _forget(db, now, 2 * arrived + 16)
        self._arrived = 0 if forgets else arrived
        if forgets:
            self._forget_at = now + FORGET_NS
        stored = [(seq, arrival) for seq, arrival in zip(seqs, arrivals, strict=True) if seq is not None]
        if stored:
            size = sum(len(arrival.body) + ENTRY_OVERHEAD for _, arrival in stored)
            self.extent = replace(
                self.extent,
                tail=stored[-1][0],
                entries=self.extent.entries + len(stored),
                bytes=self.extent.bytes + size,
            )
        return seqs

    def plan(self, last: int) -> Plan:
        """Record the borders of the next batch, unless a batch is under way: then answer with that one."""
        with self._transaction() as db:
            unfinished = _planned(db)
            if unfinished is not None:
                return unfinished
            committed, tail = self.extent.committed, self.extent.tail
            if not committed < last <= tail:
                raise ValueError(f"cannot plan up to entry {last}: the journal has {committed + 1} to {tail}")
            db.execute("UPDATE state SET planned = ?", (last,))
        return Plan(committed + 1, last)

    def unfinished(self) -> Plan | None:
        """The plan that was made and not committed."""
        with self._transaction() as db:
            return _planned(db)

    def commit(self, last: int) -> bool:
        """Delete the first of the entries that are in history, up to `last`; the plan goes with the last of them.

        Return whether all are gone; if not, call it again. After a crash in between, the plan is for the others.
        """
        with self._transaction() as db:
            border, count, size = _portion(db, last)
            if db.execute("DELETE FROM entries WHERE seq <= ?", (border,)).rowcount != count:
                raise DamageFound(f"the entries up to {border} are not in order")
            db.execute("UPDATE state SET committed = max(committed, ?)", (border,))
            extent = Extent(
                max(self.extent.committed, border),
                self.extent.tail,
                self.extent.entries - count,
                self.extent.bytes - size,
            )
            if border == last:
                db.execute("UPDATE state SET planned = NULL")
                extent = _measure(db)
        self.extent = extent
        self._shrink()
        return border == last

    def mend(self) -> None:
        """If the file was found damaged, set it aside and go on with what is readable."""
        if self.damaged and self._lock is not None:
            self._disconnect()
            self._mend("found while in use")

    def _connect(self) -> None:
        try:
            if is_interrupted(self._path):
                self._mend("found before a restart")
                return
            self._db = connect_writer(self._path, self._first_seq())
            self.extent = _measure(self._db)
        except sqlite3.Error as error:
            if not is_damage_at_open(self._path, error):
                raise
            self._disconnect()
            self._mend(str(error))

    def _mend(self, reason: str) -> None:
        with self._reader.pause:
            self._reader.close()
            kept = rebuild(self._path, self._first_seq())
            aside = finish_renaming(self._path, self._clock())
            self._db = connect_writer(self._path, self._first_seq())
        self.extent = _measure(self._db)
        self.damaged = False
        _log.error(
            "The journal %s is damaged (%s): kept aside as %s; %d entries could be read and go on.",
            self._path,
            reason,
            aside.name,
            kept,
        )

    def _first_seq(self) -> int:
        """Microseconds of the clock: numbers rise even when the file is lost and made anew, and fit a double."""
        return self._clock() // 1000

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        self.mend()
        if self._db is None:
            raise sqlite3.OperationalError("the file is not open")
        db = self._db
        try:
            _bound_log(self._path, db)
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            self.damaged = self.damaged or is_corruption(error)
            with suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise

    def _shrink(self) -> None:
        """Give space back in small parts, best effort: what stays free is reused."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                if self._db.execute("PRAGMA freelist_count").fetchone()[0] > _SPARE_PAGES:
                    self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()


def _store(db: sqlite3.Connection, seq: int, arrival: Arrival, now: int) -> bool:
    """Whether it was new."""
    digest = digest_of(arrival.signal, arrival.body)
    marked = db.execute(
        "INSERT INTO seen(digest, at) VALUES (?, ?)"
        " ON CONFLICT(digest) DO UPDATE SET at = excluded.at WHERE at < ?",
        (digest, now, now - SEEN_NS),
    )
    if not marked.rowcount:
        return False
    checksum = checksum_of(seq, arrival.received, digest)
    db.execute(
        "INSERT INTO entries(seq, signal, received, checksum, body) VALUES (?, ?, ?, ?, ?)",
        (seq, arrival.signal.value, arrival.received, checksum, arrival.body),
    )
    return True


def _forget(db: sqlite3.Connection, now: int, at_most: int) -> None:
    """Keep the digests to the last ten minutes and hundred thousand, in small parts."""
    db.execute(
        "DELETE FROM seen WHERE at < ? AND nr IN (SELECT nr FROM seen ORDER BY nr LIMIT ?)",
        (now - SEEN_NS, at_most),
    )
    db.execute("DELETE FROM seen WHERE nr <= (SELECT max(nr) FROM seen) - ?", (SEEN_LIMIT,))


def _portion(db: sqlite3.Connection, last: int) -> tuple[int, int, int]:
    """Up to which of the entries to `last` one transaction deletes, at least one; how many, and what they were charged."""
    border = count = size = 0
    lengths = "SELECT seq, coalesce(length(body), 0) FROM entries WHERE seq <= ? ORDER BY seq"
    with closing(db.execute(lengths, (last,))) as rows:
        for seq, length in rows:
            if count and size + length + ENTRY_OVERHEAD > PORTION_BYTES:
                return border, count, size
            border, count, size = seq, count + 1, size + length + ENTRY_OVERHEAD
    return last, count, size


def _measure(db: sqlite3.Connection) -> Extent:
    committed = db.execute("SELECT committed FROM state").fetchone()[0]
    tail, entries, size = db.execute(
        "SELECT max(seq), count(*), coalesce(sum(length(body)), 0) FROM entries"
    ).fetchone()
    return Extent(committed, max(tail or 0, committed), entries, size + entries * ENTRY_OVERHEAD)


def _planned(db: sqlite3.Connection) -> Plan | None:
    committed, planned = db.execute("SELECT committed, planned FROM state").fetchone()
    return None if planned is None else Plan(committed + 1, planned)


def _bound_log(path: Path, db: sqlite3.Connection) -> None:
    """Past its ceiling the write-ahead log must be taken into the file before anything more is accepted."""
    with suppress(FileNotFoundError):
        if path.with_name(f"{path.name}-wal").stat().st_size > 2 * WAL_CEILING:
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("the write-ahead log cannot be emptied")
