"""A journal on a clock that the test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from stagelight_collector.journal import Entry, Journal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    OpenJournal = Callable[..., AbstractAsyncContextManager[Journal]]


@dataclass
class Clock:
    """Unix nanoseconds that stand still."""

    now: int = 1_790_000_000 * 10**9

    def __call__(self) -> int:
        """Read the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.sqlite3"


@pytest.fixture
def opened(path: Path, clock: Clock) -> OpenJournal:
    """Make a context manager that opens the same file anew, for as long as it lasts."""

    @asynccontextmanager
    async def open_it(capacity_bytes: int = 1 << 30) -> AsyncGenerator[Journal]:
        journal = Journal(path, capacity_bytes=capacity_bytes, clock=clock)
        await journal.open()
        try:
            yield journal
        finally:
            await journal.close()

    return open_it


@pytest.fixture
def everything() -> Callable[[Journal], object]:
    """Reads all that waits, in small parts."""

    async def read_all(journal: Journal) -> list[Entry]:
        entries: list[Entry] = []
        while part := await journal.read(entries[-1].seq if entries else journal.committed, limit_bytes=4096):
            entries += part
        return entries

    return read_all
