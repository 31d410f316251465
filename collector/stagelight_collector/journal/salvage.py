"""A damaged journal: kept under another name, never deleted, while a new file takes over what can be read.

Three names, so that a crash at any point loses nothing: `X` is moved to `X.damaged` (its write-ahead log first),
`X.mending` is filled and replaces `X`, then `X.damaged` gets its final name with a time.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from stagelight_collector.journal.reader import COLUMNS, sound_entry
from stagelight_collector.journal.schema import checksum_of, connect_writer, digest_of, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stagelight_collector.journal.contract import Entry

_LARGEST_GAP: Final = 100_000
"""Sequence numbers looked up one by one between the readable ends."""


def is_interrupted(path: Path) -> bool:
    """Whether an earlier mending did not reach its end."""
    return _beside(path, ".damaged").exists() or _beside(path, ".damaged-wal").exists()


def rebuild(path: Path, first_seq: int) -> int:
    """Move the damaged file away and put a new one in its place; how many entries it has.

    Continues where an earlier call was cut off. Raises `OSError` or `sqlite3.Error` where the disk refuses: call
    again later.
    """
    damaged, mending = _beside(path, ".damaged"), _beside(path, ".mending")
    if not damaged.exists():
        _rename_if_there(_beside(path, "-wal"), _beside(path, ".damaged-wal"))
        path.rename(damaged)
        sync_directory(path.parent)
    elif path.exists():
        return 0
    for suffix in ("", "-wal", "-shm"):
        _beside(mending, suffix).unlink(missing_ok=True)
    _beside(path, "-shm").unlink(missing_ok=True)
    with closing(connect_writer(mending, first_seq)) as new:
        kept = _salvage(damaged, new)
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _beside(damaged, "-shm").unlink(missing_ok=True)
    mending.rename(path)
    sync_directory(path.parent)
    return kept


def finish_renaming(path: Path, now: int) -> Path:
    """The damaged file's last name; `now` is in Unix nanoseconds."""
    damaged = _beside(path, ".damaged")
    final = _beside(path, f".damaged-{now}")
    _rename_if_there(_beside(damaged, "-wal"), _beside(final, "-wal"))
    damaged.rename(final)
    sync_directory(path.parent)
    return final


def _salvage(damaged: Path, new: sqlite3.Connection) -> int:
    """Copy the readable entries with their numbers, their digests, and how far history is.

    Only entries that match their checksum are taken. Where the plan is unreadable, its batch may reach history twice.
    """
    kept = 0
    with closing(
        sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    ) as old:
        committed = _scalar(old, "SELECT committed FROM state WHERE one = 1")
        planned = _scalar(old, "SELECT planned FROM state WHERE one = 1")
        new.execute("BEGIN IMMEDIATE")
        for entry in _entries(old):
            digest = digest_of(entry.signal, entry.body)
            checksum = checksum_of(entry.seq, entry.received, digest)
            row = (entry.seq, entry.signal.value, entry.received, checksum, entry.body)
            kept += new.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?)", row).rowcount
            new.execute("INSERT OR IGNORE INTO seen(digest, at) VALUES (?, ?)", (digest, entry.received))
        first = new.execute("SELECT min(seq) FROM entries").fetchone()[0]
        if first is not None and (committed is None or committed >= first):
            committed = first - 1
        if committed is not None:
            new.execute("UPDATE state SET committed = ?, planned = ?", (committed, planned))
        new.execute("COMMIT")
    return kept


def _scalar(db: sqlite3.Connection, query: str) -> int | None:
    try:
        row = db.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return row[0] if row is not None and isinstance(row[0], int) else None


def _entries(db: sqlite3.Connection) -> Iterator[Entry]:
    """From both ends as far as it goes, then the numbers in between one by one."""
    front = 0
    for entry in _walk(db, "seq > ? ORDER BY seq", 0):
        front = entry.seq
        yield entry
    back = _scalar(db, "SELECT seq FROM sqlite_sequence WHERE name = 'entries'") or front
    for entry in _walk(db, "seq > ? ORDER BY seq DESC", front):
        back = entry.seq - 1
        yield entry
    for seq in range(front + 1, min(back, front + _LARGEST_GAP) + 1):
        yield from _walk(db, "seq = ?", seq)


def _walk(db: sqlite3.Connection, which: str, seq: int) -> Iterator[Entry]:
    with suppress(sqlite3.Error):
        for row in db.execute(f"SELECT {COLUMNS} FROM entries WHERE {which}", (seq,)):  # noqa: S608 # constants
            entry = sound_entry(row)
            if entry is not None:
                yield entry


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _rename_if_there(old: Path, new: Path) -> None:
    with suppress(FileNotFoundError):
        old.rename(new)
