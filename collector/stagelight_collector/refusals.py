"""Where requests go that history will never take: files, for people to look at, bounded in bytes."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from stagelight_collector.journal import Entry

MAX_BYTES: Final = 256 << 20
BLOCK: Final = 4096
"""What a file takes at least; it bounds their number too."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Refusals:
    """A directory of refused requests. Used from one thread at a time."""

    path: Path
    max_bytes: int = MAX_BYTES
    kept: int = 0
    """Requests written since the start; one that is written again after an error counts again."""
    dropped: int = 0
    """Requests that were given up because the directory is full."""
    _used: int | None = None

    def keep(self, entry: Entry) -> None:
        """Write a request and sync it.

        Raises:
            OSError: It could not be written; the request must stay in the journal.
        """
        size = _cost(len(entry.body))
        if self._used is None or self._used + size > self.max_bytes:
            self._used = self._measure()
        if self._used + size > self.max_bytes:
            self.dropped += 1
            _log.error(
                "%s is full (%d bytes): the refused request %d is given up; look at what is there and delete it",
                self.path,
                self._used,
                entry.seq,
            )
            return
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / f"{entry.seq}-{entry.signal}.pb").open("wb") as file:
            file.write(entry.body)
            file.flush()
            os.fsync(file.fileno())
        self._used += size
        self.kept += 1

    def _measure(self) -> int:
        try:
            with os.scandir(self.path) as files:
                return sum(_cost(file.stat().st_size) for file in files)
        except FileNotFoundError:
            return 0


def _cost(size: int) -> int:
    return max(size, BLOCK)
