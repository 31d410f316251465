"""The journal gives back its threads and descriptors."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from stagelight_collector.journal import Journal, JournalLocked, Signal

_HELD = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")


def _held() -> set[object]:
    """Return the descriptors with what they lead to, and the threads. Others may let go of theirs at any time."""
    found: set[object] = set(threading.enumerate())
    for descriptor in _HELD.iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found.add((descriptor.name, str(descriptor.readlink())))
    return found


async def test_twenty_times_open_and_close_leave_nothing(path: Path) -> None:
    before = _held()
    for turn in range(20):
        journal = Journal(path)
        await journal.open()
        await journal.append(Signal.LOGS, bytes([turn]), 0)
        await journal.read(journal.committed)
        await journal.close()
        assert _held() - before == set()


async def test_a_refused_open_leaves_nothing(path: Path) -> None:
    holder = Journal(path)
    await holder.open()
    before = _held()
    for _ in range(5):
        with pytest.raises(JournalLocked):
            await Journal(path).open()
        assert _held() - before == set()
    await holder.close()
