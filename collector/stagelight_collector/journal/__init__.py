"""The durable inbox: what a sender was told is accepted is synced here first, and leaves only for history."""

from __future__ import annotations

from stagelight_collector.journal.contract import (
    Entry,
    JournalClosed,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalUnavailable,
    Plan,
    Signal,
)
from stagelight_collector.journal.inbox import Journal, JournalCounters

__all__ = [
    "Entry",
    "Journal",
    "JournalClosed",
    "JournalCounters",
    "JournalError",
    "JournalFull",
    "JournalLocked",
    "JournalUnavailable",
    "Plan",
    "Signal",
]
