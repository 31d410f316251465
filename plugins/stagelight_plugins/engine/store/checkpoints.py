"""Checkpoints: the write-ahead log is copied into the file by a thread of its own, so that no commit waits for it.

A log can begin anew only when all of it was copied, and while commits go on a little is always left: that little the writer
copies itself, between two commits.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PAGES: Final = 4_000
"""Pages in the log beyond which it is copied."""
LITTLE: Final = 400
"""So many pages the writer may copy itself: a few milliseconds."""
PAGE_BYTES: Final = 4_096


class Checkpoints:
    """Keeps the log short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._wanted = threading.Event()
        self._closed = False
        self._nearly = False
        self._commits = 0
        self._thread = threading.Thread(target=self._run, name="stagelight-engine-checkpoints", daemon=True)
        self._thread.start()

    def committed(self, writer: sqlite3.Connection) -> None:
        """Look after the log; called by the writer after each commit. A failure is no failure of the commit."""
        self._commits += 1
        if self._nearly:
            self._nearly = False
            copy(writer)
        elif self._commits % 16 == 0 and self._length() > PAGES:
            self._wanted.set()

    def close(self) -> None:
        """Stop. Safe twice."""
        self._closed = True
        self._wanted.set()
        self._thread.join(timeout=10)

    def _length(self) -> int:
        try:
            return self._wal.stat().st_size // PAGE_BYTES
        except OSError:
            return 0

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            while self._wanted.wait() and not self._closed:
                self._wanted.clear()
                before, left = -1, copy(connection)
                while left > LITTLE and left != before and not self._closed:
                    before, left = left, copy(connection)
                self._nearly = left <= LITTLE
        finally:
            connection.close()


def copy(connection: sqlite3.Connection) -> int:
    """Copy what can be copied without making anybody wait; return how many pages are left."""
    try:
        _, length, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:
        return PAGES
    return max(0, int(length) - int(copied))
