"""The journal's reading side: its own connection on its own thread; sees exactly what is synced."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from stagelight_collector.journal.contract import Entry, Signal
from stagelight_collector.journal.schema import connect, digest_of

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

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
                "SELECT seq, signal, received, digest, body FROM entries WHERE seq > ? ORDER BY seq", (after,)
            )
            try:
                for seq, signal, received, digest, body in rows:
                    room -= len(body)
                    if entries and room < 0:
                        break
                    sound = digest_of(signal, body) == digest
                    entries.append(
                        Entry(seq, Signal(signal), received, body if sound else self._damaged(seq))
                    )
            finally:
                # An unfinished SELECT is an open read transaction: the log could not be reset.
                rows.close()
        return entries

    def close(self) -> None:
        """Safe at any time, and twice."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _damaged(self, seq: int) -> bytes:
        self.damaged += 1
        _log.error("Entry %d of the journal %s is damaged on disk and counts as empty.", seq, self._path)
        return b""
