"""The journal gives back its threads and descriptors."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stagelight_collector.journal import Journal, JournalLocked, Signal


def _held() -> tuple[int, int]:
    return len(list(Path("/dev/fd").iterdir())), threading.active_count()


async def test_twenty_times_open_and_close_leave_nothing(path: Path) -> None:
    before = _held()
    for turn in range(20):
        journal = Journal(path)
        await journal.open()
        await journal.append(Signal.LOGS, bytes([turn]), 0)
        await journal.read(journal.committed)
        await journal.close()
        assert _held() == before


async def test_a_refused_open_leaves_nothing(path: Path) -> None:
    holder = Journal(path)
    await holder.open()
    before = _held()
    for _ in range(5):
        with pytest.raises(JournalLocked):
            await Journal(path).open()
        assert _held() == before
    await holder.close()
