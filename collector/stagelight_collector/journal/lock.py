"""One process per journal: an advisory lock beside the file, dropped by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from stagelight_collector.journal.contract import JournalLocked

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """Held from construction to `release`.

    Raises:
        JournalLocked: somebody else holds it.
        OSError: the lock file cannot be made.
    """

    def __init__(self, guarded: Path) -> None:
        self._fd = os.open(guarded.with_name(f"{guarded.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            owner = os.pread(self._fd, 32, 0).decode("ascii", "replace")
            os.close(self._fd)
            raise JournalLocked(guarded, owner) from None
        except OSError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Let another process in. The file stays: removing it would let two processes lock two inodes."""
        os.close(self._fd)
