"""The journal's tables, and what a connection to them needs."""

from __future__ import annotations

import os
import sqlite3
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from stagelight_collector.journal.contract import JournalUnavailable

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
PAGE_BYTES: Final = 16 << 10
"""Of a new file. A request of 512 spans is stored in 1.3 ms of CPU, with pages of half the size in 2.0; small ones take the same."""
CHECKPOINT_BYTES: Final = 4 << 20
"""From so many on a commit copies the log into the file: some milliseconds, for which whoever appends waits.

It is the writer's connection that does it, though another's would let nobody wait: up to SQLite 3.51.2 a checkpoint on another
connection that begins when all is copied, while a writer starts the log anew, can lose what was committed
(https://sqlite.org/wal.html#walresetbug).
"""
WAL_CEILING: Final = 64 << 20

_TABLES: Final = (
    (
        "CREATE TABLE entries(seq INTEGER PRIMARY KEY AUTOINCREMENT, signal TEXT NOT NULL, received INTEGER NOT NULL,"
        " checksum BLOB NOT NULL, body BLOB NOT NULL)"
    ),
    "CREATE TABLE seen(nr INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, at INTEGER NOT NULL)",
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK (one = 1), committed INTEGER NOT NULL, planned INTEGER)",
)

# NOTADB and CORRUPT are said of the content. ERROR and FORMAT, while opening, mean that tables which every
# journal has are missing or unreadable.
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CORRUPT_AT_OPEN: Final = _CORRUPT | {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}


class DamageFound(sqlite3.DatabaseError):
    """Of the content, found by us and not by SQLite."""


def digest_of(signal: str, body: bytes) -> bytes:
    """The identity of a request: 128 bits over its signal and its bytes."""
    return blake2b(body, digest_size=16, person=signal.encode()).digest()


def checksum_of(seq: int, received: int, digest: bytes) -> bytes:
    """Over a whole entry: SQLite notices damage to its own structure only, not to what is stored."""
    return blake2b(
        digest, digest_size=8, salt=seq.to_bytes(8), person=received.to_bytes(16, signed=True)
    ).digest()


def next_seq(db: sqlite3.Connection) -> int:
    """The number after all that were ever given, also to entries that are gone."""
    last: int = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()[0]
    return last + 1


def is_corruption(error: BaseException | None) -> bool:
    """Whether the file itself is at fault, and not the disk's space or the moment."""
    return isinstance(error, DamageFound) or (
        isinstance(error, sqlite3.Error) and _primary_code(error) in _CORRUPT
    )


def is_damage_at_open(path: Path, error: sqlite3.Error) -> bool:
    """The same while opening, where more errors can only come from a changed file."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_READONLY:  # one flipped bit in the header says so, but the file system does not
        return os.access(path, os.W_OK)
    return is_corruption(error) or code in _CORRUPT_AT_OPEN


def connect(path: Path) -> sqlite3.Connection:
    """A connection with explicit transactions; used by one thread at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)


def connect_writer(path: Path, first_seq: int) -> sqlite3.Connection:
    """The writing connection, on a checked file; a new one begins after `first_seq`.

    Raises:
        JournalUnavailable: a newer release wrote the file.
        sqlite3.Error: see `is_damage_at_open`.
    """
    # Created here and not by SQLite, for the mode; the log and its index inherit it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = connect(path)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version:
            _check(path, db, version)
        else:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # Some builds of SQLite write zeros over all that is deleted: as much again as was stored.
        db.execute("PRAGMA secure_delete=FAST")
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")
        db.execute(f"PRAGMA journal_size_limit={WAL_CEILING}")
        if not version:
            _create(db, first_seq)
        # What recovery found in the log may never have been synced: copying it into the file syncs it.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sync_directory(path.parent)
    except BaseException:
        db.close()
        raise
    return db


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a synced file under an unsynced name is lost with the power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(db: sqlite3.Connection, first_seq: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        db.execute(table)
    db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('entries', ?)", (first_seq,))
    db.execute("INSERT INTO state VALUES (1, ?, NULL)", (first_seq,))
    db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("COMMIT")


def _check(path: Path, db: sqlite3.Connection, version: int) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamageFound(verdict)
    if version != FORMAT:
        raise JournalUnavailable(
            path, f"its format {version} is not this release's {FORMAT}; use the release that wrote it"
        )
    state = db.execute("SELECT committed FROM state").fetchall()
    first, last = db.execute("SELECT min(seq), max(seq) FROM entries").fetchone()
    if len(state) != 1 or (first is not None and not state[0][0] < first <= last < next_seq(db)):
        raise DamageFound("its state does not fit its entries")
    db.execute("SELECT seq, signal, received, checksum, body FROM entries LIMIT 0")
    db.execute("SELECT nr, digest, at FROM seen LIMIT 0")


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
