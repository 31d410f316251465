"""The journal's reading side: its own connection on its own thread; sees exactly what is synced."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.journal.contract import Entry, Signal
from stagelight_collector.journal.schema import checksum_of, connect, digest_of

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

COLUMNS: Final = "seq, CAST(signal AS BLOB), received, checksum, CAST(body AS BLOB)"
"""As bytes, because damaged text would not be text any more."""
_SIGNALS: Final = {signal.encode(): signal for signal in Signal}
_log: Final = logging.getLogger(__name__)


class Reader:
    """Opens on first use, and again after `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self.pause = threading.Lock()
        """Held while reading. Who holds it and calls `close` may replace the file: SQLite names the log by the
        file's path, so a connection that outlives a rename would delete the new file's log."""
        self.damaged = 0

    def read(self, after: int, limit_bytes: int) -> list[Entry]:
        """Entries in order from `after` (excluded), at least one if there is one, until the bodies pass the limit."""
        entries: list[Entry] = []
        room = limit_bytes
        with self.pause:
            if self._db is None:
                self._db = connect(self._path)
            rows = self._db.execute(
                f"SELECT {COLUMNS} FROM entries WHERE seq > ? ORDER BY seq",  # noqa: S608 # a constant
                (after,),
            )
            try:
                for row in rows:
                    room -= len(row[-1])
                    if entries and room < 0:
                        break
                    entries.append(sound_entry(row) or self._damaged(row[0]))
            finally:
                # An unfinished SELECT is an open read transaction: the log could not be reset.
                rows.close()
        return entries

    def close(self) -> None:
        """Safe at any time, and twice."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _damaged(self, seq: int) -> Entry:
        self.damaged += 1
        _log.error("Entry %d of the journal %s is damaged on disk and counts as empty.", seq, self._path)
        return Entry(seq, Signal.LOGS, 0, b"")


def sound_entry(row: tuple[Any, ...]) -> Entry | None:
    """The entry in a row of `COLUMNS`, if it is what was written: damage can also give a readable row."""
    seq, signal, received, checksum, body = row
    if isinstance(seq, int) and isinstance(received, int) and isinstance(body, bytes) and signal in _SIGNALS:
        entry = Entry(seq, _SIGNALS[signal], received, body)
        if checksum_of(seq, received, digest_of(entry.signal, body)) == checksum:
            return entry
    return None
